"""Emergence: at each snapshot, the very numbers of the single probes."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

import air
from air import probes
from air.checkpoint import snapshot_steps
from air.cli import app
from air.files import UserError, read_json
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.probes.emergence import emergence
from air.results.emergence import EmergenceMeasures
from air.tasks.puzzles import load_puzzles
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
    boards = emergence(models.items(), puzzles, [0, 2]).boards
    found = emergence(models.items(), puzzles, [0, 2]).measures.content()
    assert (found["puzzles"], found["segments"]) == (8, [0, 2])
    assert [entry["step"] for entry in found["snapshots"]] == [0, 7]
    for entry, model in zip(found["snapshots"], models.values(), strict=True):
        for place, value in expected(model, puzzles, [0, 2]):
            assert at(entry, place) == value, place
    assert found["snapshots"][0]["z_H"] != found["snapshots"][1]["z_H"]
    for index, model in enumerate(models.values()):
        rolled = probes.rollout(model, puzzles, boards=1).boards
        for name in ("z_L", "z_H", "violations_L", "violations_H"):
            assert (getattr(boards, name)[:, index] == getattr(rolled, name)[:, -1]).all(), name
    # batches of few puzzles say the same
    few_at_once = emergence([(0, models[0])], puzzles, [0, 2], memory_gib=1e-4)
    few = few_at_once.measures.content()["snapshots"][0]
    assert (few_at_once.boards.z_H[0, 0] == boards.z_H[0, 0]).all()
    for place in ("exact_accuracy.mean", "effects.freeze_H.content_changes", "agreement.mean"):
        assert at(few, place) == pytest.approx(at(found["snapshots"][0], place), abs=1e-4)
    for segments, said in (([], "name at least one"), ([3], "segments: 3 is not allowed")):
        with pytest.raises(ValueError, match=said):
            emergence(models.items(), puzzles, segments)


def test_the_pooled_contrast_is_over_all_query_cells(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(8)
    models = [(seed, AIR(small_model, Variant.parse("Lx_H"), 6, 16, seed=seed)) for seed in (8, 11)]
    asked = puzzles.task.query_cells(puzzles.inputs, puzzles.labels).sum()
    mixed = 0
    for snapshot in emergence(models, puzzles, [2]).measures.snapshots:
        contrast = snapshot.contrast
        assert contrast is not None
        classes = [contrast.control, contrast.adjacent]
        parts = [cells for cells in classes if cells.queries]
        mixed += len(parts) == 2
        assert contrast.pooled.queries == sum(cells.queries for cells in parts) == asked
        summed = sum(np.array(part.nearest[1].mean) * part.queries for part in parts)
        pooled = contrast.pooled.nearest[1]
        assert pooled.mean == pytest.approx(summed / asked, rel=1e-4, abs=1e-7)
        every = pooled.all_layers
        low, mean, high = np.array([every.interval[0], every.mean, every.interval[1]], dtype=float)
        assert low <= mean <= high
    assert mixed  # some have cells of both classes, which the check needs


def test_the_file_is_small(
    tmp_path: Path, small_model: ModelConfig, mazes: tuple[Puzzles, Puzzles]
) -> None:
    config = small_model.model_copy(update={"layers": 4})
    model = AIR(config, Variant.parse("Lx_H"), len(mazes[1].task.vocabulary), mazes[1].task.cells)
    found = emergence([(26_041, model)], mazes[1], [0, 1]).measures.content()
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
        assert read_json(path / "emergence.json", EmergenceMeasures).content() == found
        with np.load(path / "emergence.npz") as arrays:
            assert arrays["z_H"].shape == arrays["violations_L"].shape == (1, 2, 16)
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
