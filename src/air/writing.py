"""Writing files: whole or not at all, and the same bytes for the same content.

Every file is written under a temporary name in its own folder and renamed, so that a reader, a
crash or Ctrl-C never sees half of one. Tensors are safetensors, never pickle.
"""

import io
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from air.files import UserError
from air.reading import Arrays

log = logging.getLogger(__name__)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; rename it to ``path`` if the block succeeds."""
    free(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        temporary.replace(path)
        log.debug("wrote %s", path)
    finally:
        temporary.unlink(missing_ok=True)


def free(*targets: Path) -> None:
    """Raise a UserError if there is a folder where one of these files is to be written."""
    for path in targets:
        if path.is_dir():
            raise UserError(
                f"{path}: there is a folder where this file should be written; move it away"
            )


def write_text(path: Path, text: str) -> None:
    """Write text, all of it or nothing."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes) -> None:
    """Write bytes, all of them or nothing, on the disk when this returns."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, content: Any, indent: int = 2) -> None:
    """Write JSON that is the same for the same content: keys in the order given, one per line."""
    text = json.dumps(content, indent=indent, ensure_ascii=False, allow_nan=False)
    write_text(path, text + "\n")


def write_tensors(path: Path, tensors: Arrays, header: Mapping[str, Any]) -> None:
    """Write a safetensors file whose metadata holds ``header`` as JSON.

    The header is one metadata entry because safetensors writes several in an order that changes
    from process to process, and equal content must give equal bytes.
    """
    tensors = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    write_bytes(path, save(tensors, metadata={"air": json.dumps(header, sort_keys=True)}))


def write_arrays(path: Path, arrays: Arrays) -> None:
    """Write an .npz file for notebooks and readers outside this project.

    Not by numpy's ``savez_compressed``, which asks zipfile for sizes of 64 bits: what that writes
    differs between releases of Python 3.11. An array of more than 2 GiB has them all the same.
    """
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, array in arrays.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, np.asarray(array), allow_pickle=False)
            member = zipfile.ZipInfo(f"{name}.npy")  # its time is 1980-01-01
            member.compress_type = zipfile.ZIP_DEFLATED
            member.create_system = 3  # as everywhere but on Windows
            archive.writestr(member, content.getvalue())
