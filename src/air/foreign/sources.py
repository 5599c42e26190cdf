"""The files of a model that others trained: on this machine, or downloaded from the hub."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from air.files import UserError
from air.foreign.config import HUB, is_address, parsed
from air.hub import Repository

# HRM's published checkpoints are called just that
_STEP = re.compile(r"step_(\d{1,15})|checkpoint")


@dataclass(frozen=True)
class Found:
    """Checkpoints of one training, by step, ascending; 0 for one whose name does not say its step.

    ``hub`` says where they were downloaded from, if they were: ``repo``; ``revision``, as it was
    given; ``commit``, what that stood for; ``file``, the path there.
    """

    steps: dict[int, Path]
    series: bool  #: whether all steps of a folder were asked for, not one checkpoint
    hub: Mapping[str, str] = field(default_factory=dict)

    @property
    def last(self) -> Path:
        """The checkpoint of the last step."""
        return self.steps[max(self.steps)]


def find(source: str, commit: str | None = None) -> Found:
    """The checkpoints that a source (see :class:`~air.foreign.config.CheckpointConfig`) names.

    Args:
        commit: of a source on the hub, what its branch or tag is known to stand for.

    Raises:
        UserError: it names none, or the hub has no such thing or cannot be reached.
    """
    if is_address(source):
        return from_hub(source, commit)
    path = Path(source)
    if not path.is_dir():
        return Found({_step(path.name): path}, series=False)
    files = [file for file in sorted(path.iterdir()) if _is_step(file.name)]
    numbered = {_step(file.name): file for file in files if _says_step(file.name)}
    if not files:
        raise UserError(
            f"{source}: contains no step_N checkpoint, the format that HRM's and TRM's training "
            "code writes; give a folder that does, or one such file"
        )
    if not numbered:
        return Found({0: files[0]}, series=False)
    return Found(dict(sorted(numbered.items())), series=True)


def from_hub(address: str, commit: str | None = None) -> Found:
    """Download a checkpoint, or all of a folder, and their all_config.yaml, at one commit.

    Args:
        address: see HUB. The branch is main if there is none; without a path it is the last step
            of the repository's one folder of checkpoints.
        commit: what the branch or tag is known to stand for; else the hub is asked.

    Raises:
        UserError: it is no such address, or the hub has no such thing or cannot be reached.
    """
    try:
        name, asked, path = parsed(address)
    except ValueError as error:
        raise UserError(str(error)) from None
    repo = Repository(
        name, commit or asked, "model", "give the step_N file of a checkpoint you have"
    )
    series, file = False, path or ""
    if path is None or not _is_step(PurePosixPath(path).name):
        repo, files = repo.listed()
        if path is None:
            file = _latest(repo.name, files)
        elif path not in files:
            series = True
            steps = [one for one in files if _in_folder(one, path)]
            if not steps:
                raise UserError(
                    f"{repo.name}: has no file {path}, and no step_N in a folder of that name; "
                    f"write {HUB}"
                )
    if not series:
        steps = [file]
    repo = repo.resolved(steps[0])
    repo.get(str(PurePosixPath(steps[0]).with_name("all_config.yaml")))
    found = {_step(PurePosixPath(one).name): repo.get(one) for one in steps}
    hub = {"repo": repo.name, "revision": asked, "commit": repo.revision, "file": file}
    return Found(dict(sorted(found.items())), series, hub)


def _is_step(name: str) -> bool:
    return _STEP.fullmatch(name) is not None


def _says_step(name: str) -> bool:
    match = _STEP.fullmatch(name)
    return match is not None and match[1] is not None


def _step(name: str) -> int:
    match = _STEP.fullmatch(name)
    return int(match[1] or 0) if match else 0


def _in_folder(file: str, folder: str) -> bool:
    path = PurePosixPath(file)
    return path.parent == PurePosixPath(folder) and _says_step(path.name)


def _latest(repo: str, files: Iterable[str]) -> str:
    """The checkpoint of the last step, of those that have an all_config.yaml beside them.

    Raises:
        UserError: there is none, or there are some in several folders.
    """
    paths = [PurePosixPath(file) for file in files]
    configured = {path.parent for path in paths if path.name == "all_config.yaml"}
    steps = {
        path: _step(path.name)
        for path in paths
        if path.parent in configured and _is_step(path.name)
    }
    folders = sorted({str(path.parent) for path in steps})
    if len(folders) == 1:
        return str(max(steps, key=lambda path: steps[path]))
    if folders:
        raise UserError(
            f"{repo}: holds checkpoints in several folders ({', '.join(folders)}); choose one with "
            f"hub:{repo}@REVISION:FOLDER/step_N"
        )
    names = ", ".join(sorted(map(str, paths))[:10]) or "nothing"
    raise UserError(
        f"{repo}: contains no step_N checkpoint with an all_config.yaml beside it, the format that "
        f"HRM's and TRM's training code writes; it contains {names}"
    )
