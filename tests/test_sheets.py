"""`air rollout --sheets`: every board that a rollout has kept, a page a puzzle."""

import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from air import paths
from air.cli import app
from air.reading import read_arrays
from air.reporting import boards
from air.writing import write_arrays
from tests.test_hostile import refused

RUN = paths.run("sudoku", "Lx_H", 0)


@pytest.fixture
def study(small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "study"
    shutil.copytree(small_study, copy)
    monkeypatch.chdir(copy)
    return copy


def test_every_board_is_drawn_once(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[np.ndarray] = []

    def keep(self: Any, axis: Any, board: np.ndarray, *_: Any) -> None:
        drawn.append(board)

    monkeypatch.setattr(boards.Pen, "board", keep)
    said = CliRunner().invoke(app, ["rollout", "sudoku", "Lx_H", "--sheets", "some/sheets"])
    assert said.output.endswith("some/sheets: 4 sheets written\n"), said.output
    kept = read_arrays(RUN / "rollout.npz")
    expected = []
    for puzzle in range(4):
        expected += [kept["inputs"][puzzle], kept["labels"][puzzle]]
        for both in zip(kept["z_L"][puzzle], kept["z_H"][puzzle], strict=True):
            expected += both
    assert np.array_equal(drawn, expected)
    names = sorted(path.name for path in Path("some/sheets").iterdir())
    assert names == [f"sudoku-Lx_H-seed0-puzzle{puzzle}.pdf" for puzzle in range(4)]


def test_a_sheet_is_one_page_and_the_same_each_time(study: Path) -> None:
    """With the smallest rollout: what is kept is cut to one puzzle."""
    kept = read_arrays(RUN / "rollout.npz")
    write_arrays(RUN / "rollout.npz", {name: array[:1] for name, array in kept.items()})
    pages = []
    for folder in ("one", "two"):
        CliRunner().invoke(app, ["rollout", "sudoku", "Lx_H", "--sheets", folder])
        [path] = Path(folder).iterdir()
        pages.append(path.read_bytes())
    assert pages[0] == pages[1]
    assert pages[0].startswith(b"%PDF")
    assert len(re.findall(rb"/Type /Page\b", pages[0])) == 1


def test_what_cannot_be_drawn_is_said(study: Path) -> None:
    Path("file").write_text("x", encoding="utf-8")
    for folder, said in (
        ("file", "file: is not a folder"),
        ("results/sheets", "results/sheets: results/ is reserved for stage outputs"),
    ):
        assert refused(f"rollout sudoku Lx_H --sheets {folder}", study).startswith(said)
    message = refused("rollout sudoku L3x_H --sheets sheets", study)
    assert message.startswith("results/sudoku/L3x_H/seed0/rollout.json: there is no such file")
    (RUN / "rollout.npz").write_bytes(b"")
    message = refused("rollout sudoku Lx_H --sheets sheets", study)
    assert message.startswith(f"{RUN}/rollout.npz: not a readable .npz file")
