"""One archive of a study that anyone can check: an RO-Crate with a hash of every file.

The crate follows the Workflow Run Crate profile (https://w3id.org/ro/wfrun/workflow): the workflow,
one action for the run of all of it, and one for every stage, with what it read and what it made as
dvc.lock has it.
"""

import hashlib
import json
import mimetypes
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from air.files import UserError
from air.lock import LOCK, stages
from air.progress import Progress
from air.reporting.pages import PAGES
from air.reporting.study import Study
from air.writing import free

METADATA = "ro-crate-metadata.json"
PROFILES = (
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
)
# What a study is made from, and its results; what is absent is left out.
CONTENTS = (
    "LICENSE", "CITATION.cff", "README.md", "params.yaml", "dvc.yaml", "dvc.lock", "Snakefile",
    "requirements.lock", "environment.yml", "pyproject.toml", "workflow/**/*", "src/air/**/*",
    "reports/*.ipynb", "reports/*.yaml", "reports/claims.json", "reports/html/**/*",
    "data/**/*", "results/**/*",
)  # fmt: skip
LEFT_OUT = {"__pycache__", ".ipynb_checkpoints", ".snakemake_timestamp", ".gitignore"}


def write(target: Path) -> int:
    """Write the study in the current folder to ``target``, a ZIP file; the number of files in it.

    Raises:
        UserError: the study has not run to its end.
    """
    from rocrate.model.contextentity import ContextEntity
    from rocrate.rocrate import ROCrate

    study = Study.load()
    try:
        locked = stages(LOCK.read_bytes(), str(LOCK))
    except FileNotFoundError:
        raise UserError(f"{LOCK}: is not there; run the study to its end first") from None
    files = list(contents(study))
    crate = ROCrate()
    crate.name = f"AIR, reproduced: the {study.params.preset} study"
    crate.description = (
        "Data, models, measurements and report of a reproduction of 'One Model, Two Roles: "
        "Emergent Specialization in a Shared Recurrent Transformer' (arXiv 2605.17811)."
    )
    crate.license = "https://spdx.org/licenses/Apache-2.0"
    crate.datePublished = _date()
    for url in PROFILES:
        profile = crate.add(ContextEntity(crate, url, properties={"@type": "CreativeWork"}))
        crate.root_dataset.append_to("conformsTo", profile)
    workflow = crate.add_workflow("Snakefile", main=True, lang="snakemake", dest_path="Snakefile")
    entities: dict[str, Any] = {"Snakefile": workflow}
    with Progress("bundle", len(files), "files") as progress:
        for path in files:
            facts = _facts(path)
            if path == Path("Snakefile"):
                workflow.properties().update(facts)
            else:
                entities[path.as_posix()] = crate.add_file(
                    path, dest_path=path.as_posix(), properties=facts
                )
            progress.advance()
    reads, makes = [], []
    for name, stage in locked.items():
        objects = _entities(entities, stage.get("deps", []))
        results = _entities(entities, stage.get("outs", []))
        tool = crate.add(
            ContextEntity(
                crate,
                f"#command-{name}",
                properties={"@type": "SoftwareApplication", "name": str(stage["cmd"])},
            )
        )
        _action(crate, f"#stage-{name}", f"Stage {name}", tool, objects, results)
        reads += objects
        makes += results
    made = {entity.id for entity in makes}
    inputs = [entity for entity in reads if entity.id not in made]
    action = _action(crate, "#run", "The whole study", workflow, _once(inputs), _once(makes))
    crate.root_dataset["mentions"] = action
    free(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        crate.write_zip(Path(folder, "bundle.zip"))
        Path(folder, "bundle.zip").replace(target)
    return len(files)


def check(bundle: Path) -> tuple[int, list[str]]:
    """How many files a bundle says it has, and what is wrong with them, one line each.

    Raises:
        UserError: it is not a bundle.
    """
    try:
        with zipfile.ZipFile(bundle) as archive:
            graph = json.loads(archive.read(METADATA))["@graph"]
            listed = {unquote(entity["@id"]): entity for entity in graph if "sha256" in entity}
            there = {name for name in archive.namelist() if not name.endswith("/")} - {METADATA}
            faults = [f"{name}: is not in the archive" for name in listed if name not in there]
            faults += [f"{name}: is not listed" for name in sorted(there - set(listed))]
            for name in sorted(there & set(listed)):
                try:
                    with archive.open(name) as file:
                        found = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
                except zipfile.BadZipFile as error:
                    faults.append(f"{name}: {error}")
                    continue
                if found != listed[name]["sha256"]:
                    faults.append(f"{name}: does not have the hash that the bundle lists")
    except FileNotFoundError:
        raise UserError(f"{bundle}: there is no such file") from None
    except OSError as error:
        raise UserError(f"{bundle}: {error.strerror or error}") from None
    except (zipfile.BadZipFile, LookupError, ValueError, TypeError, EOFError) as error:
        raise UserError(f"{bundle}: is not a bundle that `air bundle` writes ({error})") from None
    return len(listed), faults


def contents(study: Study) -> Iterator[Path]:
    """Every file of a bundle.

    Raises:
        UserError: a page or a run is missing.
    """
    wanted = [Path("reports/html", f"{name}.html") for name in PAGES]
    wanted += [
        Path("results", task, variant, f"seed{seed}", name)
        for task in study.tasks
        for variant, seed in study.chosen(task)
        for name in ("model.safetensors", "evaluation.json")
    ]
    for path in wanted:
        if not path.is_file():
            raise UserError(f"{path}: is not there yet; run the study to its end first")
    chosen = {
        f"{task}/{variant}/seed{seed}"
        for task in study.tasks
        for variant, seed in study.chosen(task)
    }
    for pattern in CONTENTS:
        for path in sorted(Path().glob(pattern)):
            run = "/".join(path.parts[1:4])
            other = path.parts[0] == "results" and len(path.parts) > 2 and run not in chosen
            if path.is_file() and not LEFT_OUT & set(path.parts) and not other:
                yield path


def _facts(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    kind = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    size = str(path.stat().st_size)
    return {"name": path.name, "sha256": digest, "contentSize": size, "encodingFormat": kind}


def _action(
    crate: Any, name: str, title: str, tool: Any, objects: list[Any], results: list[Any]
) -> Any:
    from rocrate.model.contextentity import ContextEntity

    action = crate.add(
        ContextEntity(crate, name, properties={"@type": "CreateAction", "name": title})
    )
    action["instrument"] = tool
    action["object"], action["result"] = objects, results
    return action


def _entities(entities: Mapping[str, Any], listed: list[Mapping[str, Any]]) -> list[Any]:
    """The files of a bundle that a stage lists, by itself or by their folder."""
    return [
        entity
        for entry in listed
        for name, entity in entities.items()
        if name == entry["path"] or name.startswith(f"{entry['path']}/")
    ]


def _once(entities: list[Any]) -> list[Any]:
    return list({entity.id: entity for entity in entities}.values())


def _date() -> datetime:
    """The date of the last commit, or SOURCE_DATE_EPOCH; of today where there is neither."""
    command = ["git", "log", "-1", "--format=%ct"]
    seconds = os.environ.get("SOURCE_DATE_EPOCH", "")
    if not seconds.isdigit():
        try:
            seconds = subprocess.run(command, capture_output=True, text=True).stdout.strip()
        except OSError:
            seconds = ""
    return datetime.fromtimestamp(int(seconds), UTC) if seconds.isdigit() else datetime.now(UTC)
