"""What is on disk held against what is committed: the same bytes, about the same, or different.

The committed dvc.lock has a hash of everything that each stage made, and git has the numbers.
Another kind of processor, number of threads or version of PyTorch may change the last bits of a
result, and training may amplify them, so that "different" is not yet "wrong": whether a verdict has
changed is reported apart.
"""

import csv
import hashlib
import io
import json
import subprocess
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from safetensors import SafetensorError

from air import paths
from air.files import UserError
from air.lock import LOCK, cache, stages

# what readers raise of a damaged file
DAMAGE = (
    *(ValueError, LookupError, TypeError, EOFError),
    *(zipfile.BadZipFile, zlib.error, SafetensorError),
)
ABSOLUTE, RELATIVE = 1e-3, 1e-2  # what still counts as the same number
Outcome = Literal["same bytes", "within tolerance", "other bytes", "different", "not made"]


@dataclass(frozen=True)
class Compared:
    """One output, or all of a stage: how it compares, and the largest difference of its numbers."""

    outcome: Outcome
    largest: float = 0.0
    where: str = ""


def compare(revision: str = "HEAD") -> dict[str, Compared]:
    """The study's stages in the dvc.lock of a commit, held against the files in the current folder.

    Raises:
        UserError: git does not give that file, or it is not a lock of DVC's.
    """
    name = f"{LOCK} at {revision}"
    locked = stages(committed(LOCK, revision), name)
    try:
        outputs = {
            stage: [(Path(out["path"]), str(out["md5"])) for out in entry.get("outs", [])]
            for stage, entry in locked.items()
        }
    except (LookupError, TypeError, AttributeError):
        raise UserError(f"{name}: is not what DVC writes") from None
    return {
        name: _of_stage([_output(path, md5, revision) for path, md5 in outs])
        for name, outs in outputs.items()
    }


def changed_verdicts(revision: str = "HEAD") -> list[str]:
    """The verdicts on disk that are not those of a commit, one line each."""
    ours, theirs = (
        dict(_verdicts(json.loads(content)))
        for content in (_read(paths.CLAIMS), committed(paths.CLAIMS, revision))
    )
    return [
        f"{name}: {theirs.get(name, 'absent')} is committed, {ours.get(name, 'absent')} is here"
        for name in sorted({*ours, *theirs})
        if ours.get(name) != theirs.get(name)
    ]


def committed(path: Path, revision: str) -> bytes:
    """The content of a file at a commit.

    Raises:
        UserError: git does not have it; with git's own reason.
    """
    try:
        ended = subprocess.run(["git", "show", f"{revision}:./{path}"], capture_output=True)
    except OSError as error:
        raise UserError(f"git: {error.strerror}; it is needed to know what is committed") from None
    if ended.returncode:
        said = ended.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"]
        raise UserError(f"{path} at {revision}: {said[0].removeprefix('fatal: ')}")
    return ended.stdout


def _verdicts(claims: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, claim in claims.items():
        yield name, claim["verdict"]
        for task, found in claim.items():
            if isinstance(found, dict):
                yield f"{name} on {task}", found["verdict"]


def _of_stage(outputs: list[Compared]) -> Compared:
    """A stage is as its worst output; where numbers were compared, bytes alone decide nothing."""
    order: list[Outcome] = [
        "not made", "different", "within tolerance", "other bytes", "same bytes"
    ]  # fmt: skip
    return min(outputs, key=lambda one: (order.index(one.outcome), -one.largest))


def _output(path: Path, md5: str, revision: str) -> Compared:
    if not path.exists():
        return Compared("not made", where=str(path))
    if _md5(path) == md5:
        return Compared("same bytes")
    kept = cache() / "files/md5" / md5[:2] / md5[2:]
    reader = READERS.get(path.suffix)
    if reader is None or not (path.suffix == ".json" or kept.is_file()):
        return Compared("other bytes", where=str(path))
    before = kept.read_bytes() if kept.is_file() else committed(path, revision)
    try:
        ours, theirs = dict(reader(_read(path))), dict(reader(before))
    except DAMAGE as error:
        raise UserError(f"{path}: cannot be compared: {error}") from None
    if set(ours) != set(theirs):
        return Compared("different", where=f"{path}: {min(set(ours) ^ set(theirs))}")
    worst = Compared("within tolerance", where=str(path))
    for name, value in ours.items():
        number, within = _difference(value, theirs[name])
        if not within or number > worst.largest:
            found = Compared(worst.outcome if within else "different", number, f"{path}: {name}")
            worst = max(worst, found, key=lambda one: (one.outcome == "different", one.largest))
    return worst


def _difference(ours: Any, theirs: Any) -> tuple[float, bool]:
    """The largest difference of two values, and whether it is within the tolerance."""
    try:
        a, b = (np.asarray(value, dtype=np.float64) for value in (ours, theirs))
    except (TypeError, ValueError):  # words, or nothing
        return 0.0, ours == theirs
    if a.shape != b.shape or not np.array_equal(np.isnan(a), np.isnan(b)):
        return float("inf"), False
    apart = np.nan_to_num(np.abs(a - b))
    within = apart <= ABSOLUTE + RELATIVE * np.nan_to_num(np.abs(b))
    return float(apart.max(initial=0.0)), bool(within.all())


def _json(content: bytes) -> Iterator[tuple[str, Any]]:
    def walk(value: Any, name: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, dict):
            for key, inner in value.items():
                yield from walk(inner, f"{name}.{key}" if name else key)
        elif isinstance(value, list):
            for place, inner in enumerate(value):
                yield from walk(inner, f"{name}[{place}]")
        else:
            yield name, value

    return walk(json.loads(content), "")


def _csv(content: bytes) -> Iterator[tuple[str, Any]]:
    rows = list(csv.reader(io.StringIO(content.decode())))
    for line, row in enumerate(rows):
        for column, cell in zip(rows[0], row, strict=True):
            try:
                yield f"line {line + 1}, {column}", float(cell)
            except ValueError:
                yield f"line {line + 1}, {column}", cell


def _npz(content: bytes) -> Iterator[tuple[str, Any]]:
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        yield from dict(arrays).items()


def _tensors(content: bytes) -> Iterator[tuple[str, Any]]:
    from safetensors.torch import load  # late: torch takes a second; numpy has no bfloat16

    for name, tensor in load(content).items():
        yield name, tensor.double().numpy() if tensor.is_floating_point() else tensor.numpy()


READERS: dict[str, Callable[[bytes], Iterator[tuple[str, Any]]]] = {
    ".json": _json,
    ".csv": _csv,
    ".npz": _npz,
    ".safetensors": _tensors,
}


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from None


def _md5(path: Path) -> str:
    """The hash by which DVC knows a file or a folder."""
    if path.is_file():
        return hashlib.md5(_read(path), usedforsecurity=False).hexdigest()
    files = sorted(
        file for file in path.rglob("*") if file.is_file() and file.name != ".snakemake_timestamp"
    )
    listed = [{"md5": _md5(file), "relpath": file.relative_to(path).as_posix()} for file in files]
    content = json.dumps(listed, sort_keys=True).encode()
    return hashlib.md5(content, usedforsecurity=False).hexdigest() + ".dir"
