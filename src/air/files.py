"""How anything is read and written: whole or not at all, and checked by name.

Every file is written under a temporary name in its own folder and renamed, so that a reader, a
crash or Ctrl-C never sees half of one. Tensors are safetensors, never pickle.
"""

import json
import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

Arrays = Mapping[str, np.ndarray]


class UserError(Exception):
    """Something a user can mend: one sentence that names the file, row or key. Exit code 2."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, all of them or nothing."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_json(path: Path, content: Any) -> None:
    """Write JSON that is the same for the same content: keys in the order given, one per line."""
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: the file is missing or is not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run the stage that makes it") from None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UserError(f"{path}: not a JSON file ({error}); delete it and run again") from None


def write_tensors(path: Path, tensors: Arrays, header: Mapping[str, Any]) -> None:
    """Write a safetensors file whose metadata holds ``header`` as JSON.

    The header is one metadata entry because safetensors writes several in an order that changes
    from process to process, and equal content must give equal bytes.
    """
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    content = save(tensors, metadata={"air": json.dumps(header, sort_keys=True)})
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def read_tensors(
    path: Path, kind: str, mapped: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what :func:`write_tensors` wrote; ``kind`` must be the header's ``kind``.

    ``mapped`` tensors are read-only views into the file, fetched as they are used.

    Raises:
        UserError: the file is missing, truncated, or is not a file of that kind.
    """
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get("air", "{}"))
            names = list(file.keys())
            tensors = {} if mapped else {name: file.get_tensor(name) for name in names}
        if mapped:
            tensors = _map_tensors(path)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run the stage that makes it") from None
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: not a readable safetensors file ({error}); delete it and run again"
        ) from None
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise UserError(f"{path}: not a {kind} file of this project; its header names no such kind")
    return tensors, header


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an .npz file for notebooks and readers outside this project."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what :func:`write_arrays` wrote.

    Raises:
        UserError: the file is missing, truncated or not an .npz file of plain numbers.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            return dict(archive)
    except FileNotFoundError:
        raise UserError(f"{path}: there is no such file; run the stage that makes it") from None
    except (OSError, ValueError, EOFError, AttributeError, BadZipFile, zlib.error) as error:
        raise UserError(
            f"{path}: not a readable .npz file ({error}); delete it and run again"
        ) from None


def _map_tensors(path: Path) -> dict[str, np.ndarray]:
    """The tensors (uint8) of a valid safetensors file: its header's length, header, then data."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
    entries.pop("__metadata__", None)
    return {
        name: np.memmap(
            path, np.uint8, "r", 8 + length + entry["data_offsets"][0], tuple(entry["shape"])
        )
        for name, entry in entries.items()
        if entry["dtype"] == "U8"
    }
