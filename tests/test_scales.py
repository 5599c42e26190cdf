"""The table of published studies: of whatever is there, and a sentence if one cannot be read."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from air import paths, scales
from air.files import UserError
from tests.conftest import ROOT

KEPT = sorted(path.parents[1] for path in (ROOT / paths.PUBLISHED).glob("*/reports/claims.json"))
MARKED = f"before\n{scales.BEGIN}\nold\n{scales.END}\nafter\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one published study, and pages that may show tables."""
    monkeypatch.chdir(tmp_path)
    source = next(path for path in KEPT if (path / "data/maze").exists())
    keep(source, tmp_path / paths.PUBLISHED / "one")
    (tmp_path / "docs").mkdir()
    for page in (scales.README, scales.GUIDE):
        (tmp_path / page).write_text(MARKED, encoding="utf-8")
    return tmp_path


def keep(source: Path, target: Path) -> None:
    """A study as it is published, without its pages."""
    shutil.copytree(source, target, ignore=shutil.ignore_patterns("html", "*.npz"))


def edit(path: Path, change: Any) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


def cells(table: str, row: str) -> list[str]:
    line = next(line for line in table.splitlines() if line.startswith(f"| {row}"))
    return [cell.strip() for cell in line.strip("|").split("|")][1:]


def test_studies_stand_from_small_to_large_and_say_where_tasks_differ(folder: Path) -> None:
    larger = folder / paths.PUBLISHED / "a-larger-one"
    keep(folder / paths.PUBLISHED / "one", larger)

    def parameters(content: Any) -> None:
        for task in ("sudoku", "maze"):
            content["params"][task]["model"] |= {"layers": 6, "hidden_size": 640}
        content["params"]["sudoku"]["train"] |= {"schedule": "constant", "lr": 0.5, "steps": 1234}

    def verdicts(content: Any) -> None:
        content["C3"]["sudoku"]["verdict"] = content["C3"]["maze"]["verdict"] = "holds"
        content["C5"]["sudoku"]["verdict"] = "holds"
        content["C5"]["maze"]["verdict"] = "fails"
        del content["X2"]  # a study from before this claim

    edit(larger / paths.PARAMS_CHECKED, parameters)
    edit(larger / paths.CLAIMS, verdicts)
    table = scales.tables()[scales.GUIDE]
    heads = cells(table, " |")
    assert ["one" in heads[0], "a-larger-one" in heads[1], len(heads)] == [True, True, 2]
    assert cells(table, "layers, width")[1] == "6, 640"
    assert cells(table, "C3")[1] == "**holds**"
    assert cells(table, "C5")[1] == "Sudoku **holds**<br>Maze **fails**"
    assert cells(table, "X2")[1] == "not judged"
    assert cells(table, "learning rate")[1].startswith("Sudoku 0.5, constant<br>Maze ")
    assert cells(table, "optimiser steps")[1].startswith("Sudoku 1,234 x ")


def test_results_of_other_seeds_do_not_count(folder: Path) -> None:
    before = scales.tables()
    runs = folder / paths.PUBLISHED / "one" / paths.run("sudoku", "Lx_H", 0).parent
    shutil.copytree(runs / "seed0", runs / "seed77")
    edit(runs / "seed77/evaluation.json", lambda content: content.update(exact_accuracy=0.0))
    assert scales.tables() == before


def test_epochs_become_the_steps_that_a_run_has_made(folder: Path) -> None:
    study = folder / paths.PUBLISHED / "one"

    def epochs(content: Any) -> None:
        for task in ("sudoku", "maze"):
            content["params"][task]["train"] |= {"steps": None, "epochs": 30, "batch_size": 64}

    edit(study / paths.PARAMS_CHECKED, epochs)
    for path in (study / "results").glob("*/*/*/training.csv"):
        path.unlink()
    assert cells(scales.tables()[scales.GUIDE], "optimiser steps") == ["30 epochs x 64"]
    run = study / "results/sudoku/Lx_H/seed0/training.csv"
    run.write_text("step,loss\n100,2.0\n1234,1.5\n", encoding="utf-8")
    row = cells(scales.tables()[scales.GUIDE], "optimiser steps")
    assert row == ["Sudoku 1,234 x 64<br>Maze 30 epochs x 64"]
    assert scales.Kept.read(study).steps("sudoku") == 1234
    for text in ("", "loss\n1\n", "step\n", "step\nlast\n"):
        run.write_text(text, encoding="utf-8")
        with pytest.raises(UserError, match=r"Lx_H/seed0/training\.csv: not a CSV file \("):
            scales.tables()


def test_a_study_of_one_task_says_which(folder: Path) -> None:
    def left_out(content: Any) -> None:
        content["params"]["maze"]["variants"] = []

    edit(folder / paths.PUBLISHED / "one" / paths.PARAMS_CHECKED, left_out)
    table = scales.tables()[scales.README]
    assert cells(table, " |")[0].endswith("(Sudoku)")
    assert "Maze" not in table


def test_tables_are_put_between_their_marks(folder: Path) -> None:
    scales.write()
    made = scales.tables()
    for page in (scales.README, scales.GUIDE):
        text = (folder / page).read_text(encoding="utf-8")
        assert text == f"before\n{scales.BEGIN}\n\n{made[page]}\n\n{scales.END}\nafter\n"
    assert "](../reports/published/one/html)" in made[scales.GUIDE]
    scales.write()
    assert (folder / scales.README).read_text(encoding="utf-8").count("C1 ") == 1


@pytest.mark.parametrize("text", ["", scales.BEGIN, MARKED * 2])
def test_a_page_without_its_marks_is_named_and_nothing_written(folder: Path, text: str) -> None:
    (folder / scales.GUIDE).write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=r"docs/scales\.md: must have the lines"):
        scales.write()
    assert (folder / scales.README).read_text(encoding="utf-8") == MARKED


def test_what_is_wrong_with_a_study_is_named(folder: Path) -> None:
    study = folder / paths.PUBLISHED / "one"
    (study / "data/sudoku/statistics.json").unlink()
    with pytest.raises(UserError, match=r"one/data/sudoku/statistics\.json: there is no such file"):
        scales.tables()
    (study / paths.CLAIMS).write_text('{"C1": {"title": "a", "verdict": "perhaps"}}')
    with pytest.raises(UserError, match=r"one/reports/claims\.json: C1\.verdict: "):
        scales.tables()
    shutil.rmtree(study)
    with pytest.raises(UserError, match="reports/published: no study is kept there"):
        scales.tables()
