"""Bundles that are none get one sentence; a whole one is tested in test_end_to_end.py."""

import hashlib
import zipfile
from pathlib import Path

import pytest
from rocrate.rocrate import ROCrate

from air import bundle
from air.files import UserError


@pytest.mark.parametrize("content", [b"", b"PK", b"words" * 99])
def test_what_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.zip: is not a bundle that `air bundle` writes"):
        bundle.check(path)


@pytest.mark.parametrize(
    "metadata", ["", "[]", "{}", '{"@graph": 1}', '{"@graph": [{"sha256": 1}]}']
)
def test_an_archive_that_is_no_bundle_is_refused(tmp_path: Path, metadata: str) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(UserError, match="is not a bundle"):
        bundle.check(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(bundle.METADATA, metadata)
    with pytest.raises(UserError, match="is not a bundle"):
        bundle.check(path)


def test_names_are_read_as_the_crate_writes_them(tmp_path: Path) -> None:
    """A variant's name may hold a plus, which stands encoded in an RO-Crate."""
    name = "results/sudoku/L3x_H+linear/seed0/evaluation.json"
    source = tmp_path / "evaluation.json"
    source.write_text("{}")
    crate = ROCrate()
    crate.add_file(source, dest_path=name, properties={"sha256": hashlib.sha256(b"{}").hexdigest()})
    crate.write_zip(tmp_path / "a.zip")
    assert bundle.check(tmp_path / "a.zip") == (1, [])


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"b\.zip: there is no such file"):
        bundle.check(tmp_path / "b.zip")
