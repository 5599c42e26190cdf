"""Emergence: at each snapshot, the very numbers of the single probes."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import air
from air import probes
from air.checkpoint import snapshot_steps
from air.cli import app
from air.files import UserError
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.probes.emergence import emergence
from air.tasks.registry import load_puzzles
from air.tasks.task import Puzzles
from air.writing import write_json
from tests.conftest import ROOT


def expected(model: AIR, puzzles: Puzzles, segments: list[int]) -> Iterator[tuple[str, Any]]:
    """What the single probes say, by the place where emergence says it."""
    rolled = probes.rollout(model, puzzles).measures.content()
    frozen = probes.freeze(model, puzzles).content()
    looked = probes.attention(model, puzzles, segments).measures.content()
    yield "effects", frozen["effects"]
    yield "exact_accuracy.mean", frozen["normal"]["z_H"]["exact_accuracy"]
    yield "cell_accuracy.mean", rolled["z_H"]["cell_accuracy"]["mean"][-1]
    yield "margin_lead.mean", rolled["margin_lead"]
    yield "margin_lead.interval", rolled["margin_lead_interval"]
    yield "agreement.mean", pytest.approx(mean(rolled["agreement"]["mean"]), rel=1e-5)
    for state, first in (("z_L", 0), ("z_H", model.config.L_cycles)):
        yield f"{state}.undecided.mean", rolled[state]["undecided_overall"]
        yield f"{state}.undecided.interval", rolled[state]["undecided_overall_interval"]
        margin, distance = (rolled[state][name]["mean"] for name in ("margin", "distance"))
        yield f"{state}.margin.mean", pytest.approx(mean(margin[first:]), rel=1e-5)
        yield f"{state}.distance.mean", pytest.approx(mean(distance), rel=1e-5)
    for name in ("control", "adjacent"):
        yield f"contrast.{name}.queries", looked[name]["queries"]
        for near in puzzles.task.neighbourhoods:
            for key in ("all_layers", "mean", "interval"):
                yield f"contrast.{name}.d_{near}.{key}", looked[name][f"d_{near}"][key]


def mean(values: list[float]) -> float:
    return sum(values) / len(values)


def at(entry: Any, place: str) -> Any:
    for key in place.split("."):
        entry = entry[key]
    return entry


@pytest.mark.parametrize("task", ["sudokus", "mazes"])
def test_each_snapshot_has_the_numbers_of_the_single_probes(
    task: str, small_model: ModelConfig, request: pytest.FixtureRequest
) -> None:
    puzzles: Puzzles = request.getfixturevalue(task)[1].first(8)
    sizes = len(puzzles.task.vocabulary), puzzles.task.cells
    models = {
        step: AIR(small_model, Variant.parse(name), *sizes, seed=step)
        for step, name in ((0, "Lx_H"), (7, "level_token_prepend"))
    }
    found = emergence(models.items(), puzzles, [0, 2])
    assert (found["puzzles"], found["segments"]) == (8, [0, 2])
    assert [entry["step"] for entry in found["snapshots"]] == [0, 7]
    for entry, model in zip(found["snapshots"], models.values(), strict=True):
        for place, value in expected(model, puzzles, [0, 2]):
            assert at(entry, place) == value, place
    assert found["snapshots"][0]["z_H"] != found["snapshots"][1]["z_H"]
    # batches of few puzzles say the same
    few = emergence([(0, models[0])], puzzles, [0, 2], memory_gib=1e-4)["snapshots"][0]
    for place in ("exact_accuracy.mean", "effects.freeze_H.content_changes", "agreement.mean"):
        assert at(few, place) == pytest.approx(at(found["snapshots"][0], place), abs=1e-4)
    for segments, said in (([], "name at least one"), ([3], "segments: 3 is not allowed")):
        with pytest.raises(ValueError, match=said):
            emergence(models.items(), puzzles, segments)


def test_the_file_is_small(
    tmp_path: Path, small_model: ModelConfig, mazes: tuple[Puzzles, Puzzles]
) -> None:
    config = small_model.model_copy(update={"layers": 4})
    model = AIR(config, Variant.parse("Lx_H"), len(mazes[1].task.vocabulary), mazes[1].task.cells)
    found = emergence([(26_041, model)], mazes[1], [0, 1])
    found["snapshots"] *= 12
    write_json(tmp_path / "emergence.json", found, indent=0)
    assert (tmp_path / "emergence.json").stat().st_size < 60_000


def test_the_stage_measures_every_snapshot_and_refuses_none(tmp_path: Path) -> None:
    text = (ROOT / "presets/smoke.yaml").read_text(encoding="utf-8")
    text = text.replace("steps: 250", "steps: 4").replace("train: 500", "train: 20")
    text = text.replace("test: 100", "test: 12").replace("puzzles: 64", "puzzles: 32")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    path = Path("results/sudoku/Lx_H/seed0")
    with contextlib.chdir(tmp_path):
        for command in ("data sudoku", "train sudoku Lx_H", "emergence sudoku Lx_H"):
            ended = CliRunner().invoke(app, command.split())
            assert ended.exit_code == 0, ended.output
        found = json.loads((path / "emergence.json").read_text(encoding="utf-8"))
        steps = [entry["step"] for entry in found["snapshots"]]
        assert steps == snapshot_steps(path / "snapshots.safetensors") == [0, 4]
        model = air.load(path / "model.safetensors")
        puzzles = load_puzzles(Path("data/sudoku/test.safetensors"))
        for place, value in expected(model, puzzles, found["segments"]):
            assert at(found["snapshots"][-1], place) == value, place
        before = (path / "emergence.json").read_bytes()
        none = text.replace("    snapshots: 2\n", "").replace("[Lx_H], seeds: [0]", "[], seeds: []")
        Path("params.yaml").write_text(none, encoding="utf-8")
        assert CliRunner().invoke(app, ["train", "sudoku", "Lx_H"]).exit_code == 0
        ended = CliRunner().invoke(app, ["emergence", "sudoku", "Lx_H"])
        assert isinstance(ended.exception, UserError)
        assert "holds no snapshots; set train.snapshots in params.yaml" in str(ended.exception)
        assert (path / "emergence.json").read_bytes() == before
