"""Files for the same content: the same bytes, under every Python."""

import struct
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from air.reading import read_arrays
from air.writing import write_arrays

ARRAYS = {"boards": np.arange(12, dtype=np.uint8).reshape(3, 4), "share": np.array(0.25)}


def test_an_npz_has_headers_that_no_python_chooses(tmp_path: Path) -> None:
    """numpy's own are of version 20 under Python 3.11.2 and of version 45 under 3.11.7."""
    path = tmp_path / "a.npz"
    write_arrays(path, ARRAYS)
    content = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
    assert [member.filename for member in members] == ["boards.npy", "share.npy"]
    for member in members:
        version, flags, method, clock, day, *_, extra = struct.unpack_from(
            "<5H3L2H", content, member.header_offset + 4
        )
        assert (version, flags, method, clock, extra) == (20, 0, zipfile.ZIP_DEFLATED, 0, 0)
        assert day == (1 << 5) + 1  # 1980-01-01
        assert (member.create_system, member.create_version, member.extract_version) == (3, 20, 20)
        assert (member.extra, member.external_attr) == (b"", 0o600 << 16)


def test_an_npz_does_not_depend_on_the_hour(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_arrays(tmp_path / "a.npz", ARRAYS)
    monkeypatch.setattr(time, "time", lambda: 2_000_000_000.0)
    write_arrays(tmp_path / "b.npz", ARRAYS)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


@given(
    arrays_of.arrays(
        st.sampled_from([np.uint8, np.int64, np.float32, np.float64]),
        arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    ),
    st.booleans(),
)
def test_what_is_written_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, array: np.ndarray, turned: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "a.npz"
    write_arrays(path, {"array": array.T if turned else array})
    found = read_arrays(path)["array"]
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array.T if turned else array)
