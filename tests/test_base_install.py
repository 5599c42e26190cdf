"""Without the extra `pipeline`, `air` trains, probes and solves, and says what else it needs."""

import importlib
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from air.sources.maze import MazeCsv
from air.sources.sudoku import SudokuCsv
from air.tasks.maze import FREE, GOAL, PATH, START
from tests.conftest import ROOT

EXTRA = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
    "optional-dependencies"
]["pipeline"]
MODULES = {re.split(r"[<>=]", entry)[0].replace("-", "_") for entry in EXTRA} | {"IPython"}
MODULES -= {"jinja2"}  # which torch brings
SUDOKU = ".23434.2.14343.1"
WORK = (
    "check",
    "check --schema",
    "variants",
    f"solve sudoku {SUDOKU}",
    "train sudoku Lx_Hx",
    "evaluate sudoku Lx_H",
    "rollout sudoku Lx_H",
    "freeze sudoku Lx_H",
    "attention sudoku Lx_H",
)
NEED_MORE = (
    "data sudoku",
    "rollout sudoku Lx_H --sheets sheets",
    "claims",
    "report index",
    "explore",
    "publish",
    "scales",
    "bundle",
)
RUN = """
import contextlib, io, json, sys
for name in {blocked}:
    sys.modules[name] = None
from air.cli import main
for command in {commands}:
    sys.argv = ["air", *command.split()]
    said, printed = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(printed):
        try:
            main()
            code = 0
        except SystemExit as end:
            code = end.code or 0
        except Exception as error:
            code = repr(error)
    print(json.dumps([command, code, said.getvalue(), printed.getvalue()]))
"""


@pytest.fixture(scope="module")
def ended(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[object]]:
    """By command: exit code, stderr and stdout, where no module of the extra can be imported."""
    folder = tmp_path_factory.mktemp("base") / "study"
    shutil.copytree(small_study, folder)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("steps: 250", "steps: 30"))
    script = RUN.format(blocked=sorted(MODULES), commands=(*WORK, *NEED_MORE))
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=True
    )
    return {command: said for command, *said in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.parametrize("command", WORK)
def test_the_base_install_suffices(command: str, ended: dict[str, list[object]]) -> None:
    code, said, printed = ended[command]
    assert code == 0, said
    if command.startswith("solve"):
        assert "\t" in str(printed)


@pytest.mark.parametrize("command", NEED_MORE)
def test_a_command_that_needs_more_names_the_extra(
    command: str, ended: dict[str, list[object]]
) -> None:
    code, said, _ = ended[command]
    assert code == 2, said
    found = re.fullmatch(
        r"air: this command needs the package (\w+), which is not installed; install the extra "
        r"`pipeline`, in the project's folder: pip install '\.\[pipeline\]'\n",
        str(said),
    )
    assert found, said
    assert found[1] in MODULES


@pytest.fixture(params=["compiled", "not compiled"])
def search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The search with and without numba."""
    if request.param == "not compiled":
        monkeypatch.setitem(sys.modules, "numba", None)
        monkeypatch.delitem(sys.modules, "air.sources.search", raising=False)
        found = importlib.import_module("air.sources.search")
        monkeypatch.setitem(sys.modules, "air.sources.search", found)


PLACES: Any = {"source": "csv", "train_path": "a", "test_path": "b", "train": 1, "test": 1}


def test_sudokus_are_checked_as_well(search: None) -> None:
    kind = SudokuCsv(box=[3, 3], **PLACES)
    boards = np.ones((4, 81), np.uint8)  # blank
    text = "..............3.85..1.2.......5.7.....4...1...9.......5......73..2.1........4...9"
    boards[1:3] = np.frombuffer(text.replace(".", "0").encode(), np.uint8) - ord("0") + 1
    boards[2, 0] = 9  # the answer has another digit there
    boards[3, [0, 8]] = 10
    answers, faults = kind.solve(boards)
    none, several = "the question has no solution", "the question has several solutions"
    assert faults == [several, "", none, none]
    assert kind.faults(boards[1:2], answers[1:2]) == [""]


def test_mazes_are_checked_as_well(search: None) -> None:
    kind = MazeCsv(size=3, **PLACES)
    question = np.full((3, 9), FREE, np.uint8)
    question[:, 0], question[:, 2] = START, GOAL
    answer = question.copy()
    answer[0, 1] = PATH
    answer[1, [3, 6, 7, 8, 5]] = PATH
    faults = kind.faults(question, answer)
    assert faults[0] == ""
    assert faults[1].endswith("is not a shortest one: 7 cells, not 3")
    assert faults[2] == "the path in the answer does not lead from start to goal"
