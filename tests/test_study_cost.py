"""What the paper's study takes: the documentation says what the script prints, and it adds up."""

import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch
from sizes import RECIPE
from study_cost import RATE, Job, calls_of, calls_of_a_step, jobs, main, reached, table

from air import probes
from air.evaluation.accuracy import evaluate
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.params import load_params
from air.probes.decoding import CPU
from air.tasks.task import Puzzles
from air.training.step import fresh_carry, training_step
from tests.conftest import ROOT


def cost(preset: str = "paper", rate: float = RATE, **shares: float) -> dict[str, Job]:
    params = load_params(ROOT / f"presets/{preset}.yaml")
    found = jobs(params, {"maze": 8}, rate, shares)
    return {job.name.split(",")[0]: job for job in found}


@pytest.fixture(scope="module")
def paper() -> dict[str, Job]:
    return cost()


def test_the_documentation_has_the_table(paper: dict[str, Job]) -> None:
    assert table(list(paper.values())) in (ROOT / "docs/cluster.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("preset", ["paper", "paper-generated"])
def test_the_gpu_hours_that_are_told(preset: str) -> None:
    total = sum(job.gpu_hours for job in cost(preset).values())
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    row = re.search(rf"^\| `{preset}` \|.*$", readme, re.MULTILINE)
    assert row
    header = (ROOT / f"presets/{preset}.yaml").read_text(encoding="utf-8").replace("\n#", "")
    for text in (row[0], header):
        told = re.search(r"about (\d+) GPU-hours", text)
        assert told and int(told[1]) == pytest.approx(total, abs=5)


def test_what_was_measured_is_told_as_it_was(paper: dict[str, Job]) -> None:
    training = paper["Sudoku: training"]
    assert (training.jobs, training.gpus, training.measured) == (80, 1, True)
    assert training.seconds == pytest.approx(26_040 * 0.0927)
    assert paper["Maze: training"].jobs == 45
    assert not paper["Maze: training"].measured  # eight GPUs were not
    assert "423,786 puzzles" in paper["Sudoku: evaluation"].name  # 422,786, and 1,000 to train on
    assert paper["Sudoku: evaluation"].seconds == pytest.approx(17.8 * 42.3786)
    assert not paper["Sudoku: evaluation"].measured  # f is compiled for so many
    assert paper["Sudoku: freeze"].seconds == pytest.approx(3.8)
    assert (paper["Sudoku: freeze"].jobs, paper["Sudoku: freeze"].measured) == (15, True)
    # what was measured on mazes, by another way
    share = reached()["training"]
    found = 1e15 * paper["Maze: training"].pflop / 8 / 26_040 / (share * RATE * 1e12)
    assert found == pytest.approx(0.1577, rel=0.02)


def test_another_gpu_has_its_own_times(paper: dict[str, Job]) -> None:
    other = cost(rate=2 * RATE, training=0.5)
    for name, job in other.items():
        assert not job.measured
        share = 0.5 / reached()["training"] if name == "Sudoku: training" else 1
        if "Maze: training" not in name:
            assert job.seconds == pytest.approx(paper[name].seconds / 2 / share)


def test_calls_of_f_are_those_that_are_made(sudokus: tuple[Puzzles, Puzzles]) -> None:
    config = ModelConfig(layers=1, hidden_size=16, heads=2, inner_multiple=8, max_segments=4)
    model = AIR(config, Variant.parse("Lx_H"), 6, 16)
    made: Counter[str] = Counter()

    def count(*seen: Any) -> None:
        made["all"] += 1
        made["gradient"] += torch.is_grad_enabled()

    model.stacks[0].register_forward_hook(count)
    puzzles = sudokus[1].first(2)
    tokens = torch.from_numpy(puzzles.inputs).long()
    for recipe in (
        RECIPE,
        RECIPE.model_copy(update={"gradient": "last_cycle"}),
        RECIPE.model_copy(update={"gradient": "full", "q_continue": False}),
    ):
        made.clear()
        training_step(
            model, fresh_carry(model, tokens, tokens), tokens, tokens,
            torch.zeros(2, dtype=torch.int32),
            gradient=recipe.gradient, q_continue=recipe.q_continue,
        )  # fmt: skip
        assert calls_of_a_step(config, recipe) == made["all"] + 2 * made["gradient"]

    section = load_params(ROOT / "presets/smoke.yaml").sudoku  # type: ignore[attr-defined]
    of = section.probes
    section = section.model_copy(
        update={
            "model": config,
            "probes": of.model_copy(
                update={
                    "freeze": of.freeze.model_copy(update={"later": [1]}),
                    "attention": of.attention.model_copy(update={"segments": [0, 2]}),
                }
            ),
        }
    )
    runs: dict[str, Callable[[], object]] = {
        "evaluation": lambda: evaluate(model, puzzles, 2, CPU, silent=True),
        "rollout": lambda: probes.rollout(model, puzzles),
        "freeze": lambda: probes.freeze(model, puzzles, later=[1]),
        "attention": lambda: probes.attention(model, puzzles, [0, 2]),
    }
    for job, run in runs.items():
        made.clear()
        run()
        assert calls_of(job, section) == made["all"], job


def test_a_wrong_word_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    preset = str(ROOT / "presets/paper.yaml")
    for options, said in (
        (["--processes", "maz=8"], "maz=8: must be NAME=NUMBER with a name of sudoku, maze"),
        (["--shares", "training=much"], "training=much: must be NAME=NUMBER"),
        (["--processes", "maze=7"], "maze: 7 processes cannot share 768 slots evenly"),
    ):
        monkeypatch.setattr("sys.argv", ["study_cost.py", preset, *options])
        with pytest.raises(SystemExit, match=said):
            main()
