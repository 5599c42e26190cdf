"""The stage `import`: a model that others trained, in the place of a training."""

import logging
from typing import Any

from pydantic import BaseModel, Field

from air import paths
from air.checkpoint import save_model, save_snapshots
from air.files import UserError, read_json, there
from air.foreign.checkpoints import import_found
from air.foreign.sources import find
from air.model.network import AIR
from air.params import load_params
from air.results.imported import Hub, Imported, Sizes, Step
from air.stages.inputs import puzzles_of
from air.writing import free, write_json

log = logging.getLogger(__name__)
OUTPUTS = ("model.safetensors", "snapshots.safetensors", "import.json")


def import_(task: str, name: str) -> None:
    """Write model.safetensors, snapshots.safetensors (maybe with none) and import.json.

    Raises:
        UserError: no such model is named, it cannot be found or read, or there are no puzzles.
    """
    section = load_params().task(task)
    if name not in section.imported:
        named = ", ".join(section.imported) or "empty"
        raise UserError(f"params.yaml: {task}.imported: {name} is not there; the list is {named}")
    config, out = section.checkpoints[name], paths.run(task, name, 0)
    free(*(out / file for file in OUTPUTS))
    with puzzles_of(task, "test") as puzzles:
        cells = puzzles.task.cells
    found = find(config.source, _commit_before(task, name, config.source))
    model, origin, snapshots = import_found(found, config.variant, cells)
    if origin["task"] not in (task, None):
        raise UserError(
            f"params.yaml: {task}.checkpoints.{name}.source: is a model of {origin['task']}"
        )
    origin |= {"name": name, "task": task, "seed": 0}
    save_snapshots(model, snapshots, out / "snapshots.safetensors", origin)
    save_model(model, out / "model.safetensors", origin)
    write_json(out / "import.json", _record(model, origin, config.source))
    if found.hub and found.hub["commit"] != found.hub["revision"]:
        asked = {"source": config.source, "commit": found.hub["commit"]}
        write_json(paths.revision_of_model(task, name), asked)
    log.info(
        f"import {task} {name}: {model.variant.name}, {model.parameter_count:,} parameters, from "
        f"{config.source}" + (f", {len(snapshots)} steps" if snapshots else "")
    )


class _Before(BaseModel):
    """What paths.revision_of_model holds."""

    source: str
    commit: str = Field(pattern=r"^[0-9a-f]{40}$")


def _commit_before(task: str, name: str, source: str) -> str | None:
    """The commit that the source's branch or tag stood for when it was read first.

    Run again, for whatever reason, the stage reads the same files, also if the branch has moved.
    """
    path = paths.revision_of_model(task, name)
    before = read_json(path, _Before) if there(path) else None
    return before.commit if before and before.source == source else None


def _record(model: AIR, origin: dict[str, Any], source: str) -> dict[str, object]:
    came_from = origin["imported"]
    hub = came_from.get("hub")
    sizes = model.config.model_dump(include=set(Sizes.model_fields))
    return Imported(
        source=source,
        **({"hub": Hub.model_validate(hub)} if hub else {}),
        file=came_from["file"],
        sha256=came_from["sha256"],
        arch=came_from["arch"],
        variant=model.variant.name,
        parameters=model.parameter_count,
        model=Sizes(**sizes),
        steps=[Step(**step) for step in came_from.get("steps", ())],
    ).content()
