"""What docs/extending.md shows works: its blocks are applied to a copy of the project, and run."""

import json
import re
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pipeline import call, scratch
from tests.test_pipeline import differences

pytestmark = pytest.mark.slow

BLOCK = re.compile(r"^```(\w+)\n# (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def apply(folder: Path) -> None:
    """Write the page's new files and edit the others wherever a block's old lines stand."""
    page = (ROOT / "docs/extending.md").read_text(encoding="utf-8")
    for language, name, text in BLOCK.findall(page):
        path = folder / name
        if language != "diff":
            assert not path.exists()
            path.write_text(text, encoding="utf-8")
            continue
        lines = text.splitlines(keepends=True)
        old = "".join(line[1:] for line in lines if line[0] != "+")
        new = "".join(line[1:] for line in lines if line[0] != "-")
        content = path.read_text(encoding="utf-8")
        if old:
            assert old in content, f"{name} has not, or no longer, {old!r}"
        path.write_text(content.replace(old, new) if old else content + new, encoding="utf-8")


def test_the_examples_work(tmp_path: Path) -> None:
    folder = scratch(tmp_path, "smoke")
    params = folder / "params.yaml"
    apply(folder)
    shorter = params.read_text(encoding="utf-8").replace("steps: 250", "steps: 120")
    params.write_text(shorter.replace("puzzles: 64", "puzzles: 16"), encoding="utf-8")
    for check in (["ruff", "check", "."], ["ruff", "format", "--check", "."]):
        ended = call(folder, *check)
        assert ended.returncode == 0, ended.stdout
    ended = call(folder, "snakefmt", "--check", "workflow")
    assert ended.returncode == 0, ended.stderr
    assert differences(folder) == []  # both engines know of all of it
    ended = call(folder, "pytest", "-q", "tests/test_architecture.py", "-k", "settling or train")
    assert ended.returncode == 0, ended.stdout[-2000:]

    sudoku, maze, flood = (f"results/{task}/Lx_H/seed0" for task in ("sudoku", "maze", "flood"))
    new = "results/sudoku/L3x_H+linear/seed0/evaluation.json"
    measured = [f"{flood}/{name}.json" for name in ("rollout", "freeze", "attention", "settling")]
    wanted = [
        "results/params.json",
        new,
        *measured,
        *(f"{run}/settling.json" for run in (sudoku, maze)),
    ]
    wanted += [f"{run}/evaluation.json" for run in (sudoku, flood)]
    ended = call(folder, "snakemake", "--cores", "2", *wanted)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]
    pages = ("index", "data", "attention")
    for command in (["claims"], *(["report", page] for page in pages)):
        ended = call(folder, "air", *command)
        assert ended.returncode == 0, ended.stderr

    def read(name: str) -> dict[str, float]:
        found: dict[str, float] = json.loads((folder / name).read_text(encoding="utf-8"))
        return found

    more = read(new)["parameters"] - read(f"{sudoku}/evaluation.json")["parameters"]
    assert more == 32**2  # the matrix before the input
    assert read(f"{flood}/evaluation.json")["cell_accuracy"] > 0.6  # it learns: walls are 0.4
    for run in (sudoku, maze, flood):
        assert 1 <= read(f"{run}/settling.json")["segments"] <= 8
    claim = json.loads((folder / "reports/claims.json").read_text(encoding="utf-8"))["X4"]
    assert set(claim) == {"title", "verdict", "sudoku", "maze", "flood"}
    index, data, attention = (
        (folder / f"reports/html/{page}.html").read_text(encoding="utf-8") for page in pages
    )
    assert re.search(r"[Ss]eed 0: settled after \d\.\d segments", index)
    assert "reached cells" in data
    assert "can be reached from the start" in data  # in the task's own words
    assert "Flood: attention on row and column" in attention
