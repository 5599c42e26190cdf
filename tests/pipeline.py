"""The two engines as data, and scratch copies of the project to run them in."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dvc.repo import Repo

from tests.conftest import ROOT


@dataclass(frozen=True)
class Stage:
    """A stage of the study as one engine knows it: the files it reads and the files it makes."""

    reads: frozenset[str]
    makes: frozenset[str]


def scratch(folder: Path, params: str | None = None) -> Path:
    """A committed copy of the project as it is in the working tree; ``params`` names a preset."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", "-z"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout.split("\0")  # fmt: skip
    made = ("results/", "dvc.lock", "reports/claims.json")  # a scratch copy makes its own
    for name in (name for name in listed if name and not name.startswith(made)):
        source, target = ROOT / name, folder / name
        if source.is_symlink() or source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target, follow_symlinks=False)
    if params:
        shutil.copy(folder / "presets" / f"{params}.yaml", folder / "params.yaml")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    for command in (["init", "-q", "-b", "main"], ["add", "-A"], ["commit", "-q", "-m", "scratch"]):
        subprocess.run([*git, *command], cwd=folder, check=True)
    return folder


def environment(folder: Path) -> dict[str, str]:
    """The environment in which ``folder`` is the project: its code, this interpreter's tools."""
    tools = str(Path(sys.executable).parent)
    path = os.pathsep.join([tools, os.environ["PATH"]])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(folder / "src")}


def call(folder: Path, *command: str, timeout: float = 1800) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` and capture what it says."""
    return subprocess.run(
        command,
        cwd=folder,
        env=environment(folder),
        capture_output=True,
        text=True,
        timeout=timeout,
    )


def snakemake_stages(folder: Path, *options: str) -> dict[str, Stage]:
    """Every job of the workflow by the DVC stage that it calls, as a dry run of all shows them."""
    shown = ("--forceall", "--printshellcmds", "--quiet", "host")
    ended = call(folder, "snakemake", "-n", *shown, *options)
    assert ended.returncode == 0, ended.stderr
    jobs = re.findall(
        r"^rule \w+:\n    input: (.*)\n    output: (.*)\n(?:    .*\n)*"
        r"Shell command: .*repro\.py '?(.+?)'? ",
        ended.stdout,
        re.MULTILINE,
    )
    return {
        name: Stage(
            frozenset(reads.split(", ")), frozenset(re.sub(r" \(\w+\)", "", makes).split(", "))
        )
        for reads, makes, name in jobs
    }


def dvc_stages(folder: Path) -> dict[str, Stage]:
    """Every stage of dvc.yaml, a folder among its dependencies standing for the files in it."""
    with Repo(str(folder)) as repo:
        stages = {stage.name: stage for stage in repo.index.stages}
        makes = {
            name: frozenset(_relative(out.fs_path, folder) for out in stage.outs)
            for name, stage in stages.items()
        }
        made = frozenset().union(*makes.values())
        return {
            name: Stage(
                frozenset(
                    file
                    for dep in stage.deps
                    if type(dep).__name__ != "ParamsDependency"
                    for file in _files(folder, _relative(dep.fs_path, folder), made)
                ),
                makes[name],
            )
            for name, stage in stages.items()
        }


def edges(stages: Mapping[str, Stage]) -> set[tuple[str, str]]:
    """(maker, reader) for every file that one stage makes and another reads."""
    maker = {file: name for name, stage in stages.items() for file in stage.makes}
    return {
        (maker[file], name)
        for name, stage in stages.items()
        for file in stage.reads
        if file in maker
    }


def _relative(path: str, folder: Path) -> str:
    return Path(path).relative_to(folder.resolve()).as_posix()


def _files(folder: Path, dependency: str, made: frozenset[str]) -> set[str]:
    below = {file for file in made if file.startswith(f"{dependency}/")}
    if below:
        return below
    path = folder / dependency
    if path.is_dir():
        return {
            file.relative_to(folder).as_posix()
            for file in path.rglob("*")
            if file.is_file() and "__pycache__" not in file.parts
        }
    return {dependency}
