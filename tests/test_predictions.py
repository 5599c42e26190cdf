"""`air evaluate --predictions`: the answers one by one, which add up to evaluation.json."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from air import paths
from air.checkpoint import save_model
from air.cli import app
from air.evaluation.predictions import predict
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.probes.decoding import CPU
from air.tasks.puzzles import load_puzzles
from air.tasks.task import Puzzles
from tests.test_hostile import contents, refused

RUN = paths.run("sudoku", "Lx_H", 0)


def lively(puzzles: Puzzles, config: ModelConfig, seed: int = 1) -> AIR:
    """An untrained model whose logits differ from puzzle to puzzle and segment to segment."""
    task = puzzles.task
    model = AIR(config, Variant.parse("Lx_H"), len(task.vocabulary), task.cells, seed=seed)
    with torch.no_grad():
        model.embedding.mul_(3)
        for parameter in model.stacks.parameters():
            parameter.mul_(1.6)  # more would be chaotic: last bits, a processor's own, would decide
        torch.nn.init.normal_(model.q_head.weight, generator=torch.Generator().manual_seed(3))
        torch.nn.init.zeros_(model.q_head.bias)
        model.lm_head.weight[0] = 0  # seldom padding
    return model


@pytest.mark.parametrize("q_continue", [True, False])
def test_predictions_are_what_the_model_says(
    q_continue: bool, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    """Held against the model run puzzle by puzzle, in batches of which the last is filled up."""
    puzzles = sudokus[1].first(7)
    model = lively(puzzles, small_model)
    model.origin = {"train": {"q_continue": q_continue}}
    found = list(predict(model, puzzles, 3, CPU))
    assert [len(batch.board) for batch in found] == [3, 3, 1]
    halted = []
    for place in range(7):
        batch, row = found[place // 3], place % 3
        tokens = torch.from_numpy(puzzles.inputs[place : place + 1].astype(np.int64))
        with torch.no_grad():
            x, (z_L, z_H) = model.embed(tokens), model.fresh_states(1)
            heads = []
            for _ in range(small_model.max_segments):
                z_L, z_H = model.segment(x, z_L, z_H)
                heads.append(model.heads(z_H))
        board = heads[-1].logits[0].argmax(dim=-1).numpy()
        assert np.array_equal(batch.board[row], board)
        assert batch.right[row] == (board == puzzles.labels[place]).all()
        q_halt = [head.q_halt.item() for head in heads]
        against = [head.q_continue.item() if q_continue else 0.0 for head in heads]
        assert np.allclose(batch.q_halt[row], q_halt, atol=1e-4)
        assert (batch.q_continue is not None) == q_continue
        wants = [h > a for h, a in zip(q_halt[:-1], against[:-1], strict=True)] + [True]
        assert batch.segments[row] == wants.index(True) + 1
        halted.append(int(batch.segments[row]))
    assert len(set(halted)) > 1  # the model does not say the same of all


@pytest.fixture
def study(small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study with an untrained model of sudoku Lx_H."""
    copy = tmp_path / "study"
    shutil.copytree(small_study, copy)
    monkeypatch.chdir(copy)
    puzzles = load_puzzles(paths.data("sudoku", "test"))
    config = ModelConfig(layers=2, hidden_size=16, heads=2, inner_multiple=8, max_segments=8)
    origin = {"task": "sudoku", "seed": 0}
    save_model(lively(puzzles, config), RUN / "model.safetensors", origin)
    return copy


def predicted() -> list[dict[str, Any]]:
    """What the command writes of each test puzzle."""
    path = Path("said.jsonl")
    said = CliRunner().invoke(app, ["evaluate", "sudoku", "Lx_H", "--predictions", str(path)])
    found = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    right = sum(one["right"] for one in found)
    assert said.output.endswith(f"said.jsonl written: {len(found)} puzzles, {right} right\n")
    path.unlink()
    return found


def test_the_file_adds_up_to_the_evaluation(study: Path) -> None:
    puzzles = load_puzzles(paths.data("sudoku", "test"))
    symbols = [symbol or "?" for symbol in puzzles.task.csv_symbols]
    before = predicted()
    assert not any(one["right"] for one in before)
    # what the model answers to one puzzle becomes its answer; an answer holds no padding
    lucky = next(one for one in before if "?" not in one["board"])
    labels = puzzles.labels.copy()
    labels[lucky["puzzle"]] = [symbols.index(symbol) for symbol in lucky["board"]]
    changed = Puzzles(puzzles.task, puzzles.inputs, labels, puzzles.seed)
    changed.save(paths.data("sudoku", "test"), "test")
    ended = CliRunner().invoke(app, ["evaluate", "sudoku", "Lx_H"])
    assert ended.exit_code == 0, ended.output
    measured = json.loads((RUN / "evaluation.json").read_text(encoding="utf-8"))
    files = contents(study)
    found = predicted()
    assert contents(study) == files  # evaluation.json stays as it is
    assert [one["puzzle"] for one in found if one["right"]] == [lucky["puzzle"]]
    assert measured["exact_accuracy"] == 0.25
    boards = np.array([[symbols.index(symbol) for symbol in one["board"]] for one in found])
    assert measured["cell_accuracy"] == pytest.approx((boards == labels).mean(), abs=1e-6)
    for number, (one, question) in enumerate(zip(found, puzzles.inputs, strict=True)):
        assert one["puzzle"] == number
        assert one["question"] == "".join(symbols[token] for token in question)
        assert len(one["q_halt"]) == len(one["q_continue"]) == 8
        assert 1 <= one["segments"] <= 8


def test_a_bad_place_is_refused_before_anything_is_computed(study: Path) -> None:
    Path("folder").mkdir()
    Path("text").write_text("x", encoding="utf-8")
    for path, said in (
        ("folder", "folder: is not a regular file"),
        ("none/said.jsonl", "none/said.jsonl: there is no folder none"),
        ("text/said.jsonl", "text/said.jsonl: there is no folder text"),
        ("results/said.jsonl", "results/said.jsonl: results/ is reserved for stage outputs"),
        (
            f"../study/{RUN}/evaluation.json",
            f"../study/{RUN}/evaluation.json: results/ is reserved",
        ),
    ):
        assert refused(f"evaluate sudoku Lx_H --predictions {path}", study).startswith(said)
    (RUN / "model.safetensors").unlink()
    message = refused("evaluate sudoku Lx_H --predictions said.jsonl", study)
    assert message.startswith(f"{RUN}/model.safetensors: there is no such file")
