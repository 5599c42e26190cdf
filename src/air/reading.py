"""Arrays as :mod:`air.writing` writes them, read with care: a file may be damaged, or another's."""

import json
import math
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile

import numpy as np
from safetensors import SafetensorError, safe_open

from air.files import UserError, reading

Arrays = Mapping[str, np.ndarray]
MOST_BYTES = 2**30  # of the arrays of one .npz file, unpacked


def read_tensors(
    path: Path, kind: str, mapped: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what :func:`air.writing.write_tensors` wrote; ``kind`` must be the header's ``kind``.

    ``mapped`` tensors (uint8) are read-only views into the file, fetched as they are used. A file
    that takes its name does not change them; one that is written over in place does.

    Raises:
        UserError: the file is missing, truncated, or is not a file of that kind.
    """
    faults = (SafetensorError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
    with reading(path, "a readable safetensors file", *faults):
        with safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            names = [] if mapped else list(file.keys())
            tensors = {name: file.get_tensor(name) for name in names}
        if mapped:
            tensors, metadata = _map_tensors(path)
        header = json.loads(metadata.get("air", "{}"))
    if not isinstance(header, dict) or header.get("kind") != kind:
        raise UserError(f"{path}: is not a {kind} file written by air")
    return tensors, header


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Read what :func:`air.writing.write_arrays` wrote.

    Raises:
        UserError: the file is missing, truncated or not an .npz file of plain numbers.
    """
    faults = (
        BadZipFile, zlib.error, EOFError, ValueError, TypeError, LookupError, NotImplementedError,
        SyntaxError, RecursionError, OverflowError,
    )  # fmt: skip
    with reading(path, "a readable .npz file", *faults), ZipFile(path) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > MOST_BYTES:
            raise ValueError(f"it would fill more than {MOST_BYTES >> 30} GiB")
        return {entry.filename.removesuffix(".npy"): _array(archive, entry) for entry in entries}


def _array(archive: ZipFile, entry: Any) -> np.ndarray:
    """One array of an .npz file, if its header claims no more than there is."""
    if entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED) or entry.flag_bits & 1:
        raise ValueError(f"{entry.filename} is encrypted, or its compression is not supported")
    with archive.open(entry) as file:
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        shape, _, dtype = read_header(file)
    if dtype.kind not in "biuf" or math.prod(shape) * dtype.itemsize > entry.file_size:
        raise ValueError(f"{entry.filename} is not numeric, or is shorter than its header says")
    with archive.open(entry) as file:
        return np.lib.format.read_array(file, allow_pickle=False)


def _map_tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The tensors (uint8) and metadata of a valid file: its header's length, header, then data.

    All come from one file, also if another takes its name: maps outlive that.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        entries = json.loads(file.read(length))
        metadata = entries.pop("__metadata__", {})
        tensors: dict[str, np.ndarray] = {}
        for name, entry in entries.items():
            if entry["dtype"] == "U8":
                begin, shape = 8 + length + entry["data_offsets"][0], tuple(entry["shape"])
                tensors[name] = np.memmap(file, np.uint8, "r", begin, shape)
    return tensors, metadata
