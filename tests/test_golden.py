"""Number for number against the authors' public implementation, in float64.

``AIR_GOLDEN=<folder>`` tests another folder of the same format.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from air.foreign.checkpoints import our_name
from air.model.network import AIR
from air.model.variants import PAPER_VARIANTS
from air.probes.attention_maps import captured
from air.probes.decoding import decoded_rollout
from air.probes.freezing import CONDITIONS, count_changes
from air.tasks.maze import Maze
from air.tasks.registry import TASKS
from air.tasks.sudoku import Sudoku
from air.tasks.task import Task
from air.training.config import TrainConfig
from air.training.loop import optimizers
from air.training.step import Outcome, fresh_carry, training_step
from tests.conftest import ROOT
from tests.golden_vectors import FOLDER, build

FILES = sorted(FOLDER.glob("*.safetensors"))
VARIANTS = [path for path in FILES if not path.stem.startswith("probe_")]
PROBES = [path for path in FILES if path.stem.startswith("probe_")]
NO_EXPLORATION = torch.zeros((), dtype=torch.int32)


def distance(ours: Tensor, theirs: Tensor) -> float:
    """max |a - b| / max |b|."""
    assert ours.shape == theirs.shape
    scale = theirs.abs().max().item() or 1.0
    return (ours - theirs).abs().max().item() / scale


def test_there_are_vectors() -> None:
    assert VARIANTS, f"{FOLDER} holds no vectors"
    if FOLDER == ROOT / "tests/golden":
        assert {path.stem for path in VARIANTS} == set(PAPER_VARIANTS)
        assert len(PROBES) == len(TASKS)


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_evaluation(path: Path) -> None:
    model, golden, _ = build(path)
    inputs = golden["batch/inputs"].long()
    with torch.no_grad():
        x = model.embed(inputs)
        z_L, z_H = model.fresh_states(len(inputs))
        segments = sum(name.endswith("/q_halt") and "eval/" in name for name in golden)
        for segment in range(segments):
            z_L, z_H = model.segment(x, z_L, z_H)
            heads = model.heads(z_H)
            bound = 1e-9 if segment == 0 else 1e-7
            for name, tensor in heads._asdict().items():
                assert distance(tensor, golden[f"eval/segment{segment}/{name}"]) < bound, name
    assert segments
    assert distance(z_H, golden["eval/final/z_H"]) < 1e-7
    assert distance(z_L, golden["eval/final/z_L"]) < 1e-7


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_halting(path: Path) -> None:
    model, golden, _ = build(path)
    inputs, labels = golden["batch/inputs"].long(), golden["batch/labels"].long()
    carry = fresh_carry(model, inputs, labels)
    for step in range(len(golden["halting/halted"])):
        inputs = golden[f"halting/step{step}/inputs"].long()
        labels = golden[f"halting/step{step}/labels"].long()
        carry, outcome = training_step(model, carry, inputs, labels, NO_EXPLORATION)
        ours = outcome.losses.detach()
        assert torch.equal(outcome.halted, golden["halting/halted"][step].bool())
        assert torch.equal(outcome.steps, golden["halting/steps"][step])
        assert distance(ours, golden["halting/losses"][step]) < 1e-7
        assert distance(outcome.target_q_continue, golden["halting/target_q_continue"][step]) < 1e-7


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
def test_training(path: Path) -> None:
    model, golden, _ = build(path)
    model.train()
    inputs, labels = golden["batch/inputs"].long(), golden["batch/labels"].long()
    recipe = TrainConfig(
        steps=3, batch_size=len(inputs), lr=1e-3, weight_decay=0.1, warmup_steps=0, puzzle_lr=1e-2,
        puzzle_weight_decay=0.1,
    )  # fmt: skip
    for step, expected in enumerate(golden["train/losses"]):
        if step == 0:
            both = optimizers(model, recipe)
        embedded: list[Tensor] = []
        outcome = _first_segment(model, inputs, labels, embedded)
        ours = outcome.losses.detach()
        assert distance(ours, expected) < 1e-9
        outcome.losses[0].backward()
        if step == 0:
            check_gradients(model, golden, embedded[0])
        for optimizer in both:
            optimizer.step()
        model.zero_grad(set_to_none=True)
    parameters = dict(model.named_parameters())
    for name, tensor in entries(golden, "train/after_norm/").items():
        assert distance(parameters.pop(name).detach().norm().reshape(1), tensor) < 1e-9, name
    assert not parameters, "the file leaves parameters out"
    parameters = dict(model.named_parameters())
    for name, tensor in entries(golden, "train/after/").items():
        assert distance(parameters[name].detach(), tensor) < 1e-9, name


def entries(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors under ``prefix``, by our names of the parameters they are about."""
    return {
        our_name(name.removeprefix(prefix)): tensor
        for name, tensor in golden.items()
        if name.startswith(prefix)
    }


def check_gradients(model: AIR, golden: dict[str, Tensor], x: Tensor) -> None:
    parameters = dict(model.named_parameters())
    norms, full = entries(golden, "train/grad_norm/"), entries(golden, "train/grad/")
    assert set(norms) == set(parameters) - {"puzzle_embedding"}
    local = full.pop("puzzle_emb_local")
    for name, tensor in norms.items():
        gradient = parameters[name].grad
        if tensor.isnan().item():
            assert gradient is None, name
        else:
            assert gradient is not None, name
            assert distance(gradient.norm().reshape(1), tensor) < 1e-9, name
    for name, tensor in full.items():
        gradient = parameters[name].grad
        assert gradient is not None, name
        assert distance(gradient, tensor) < 1e-9, name
    # per slot: x holds the puzzle embedding times sqrt(d) at its slot
    assert x.grad is not None
    assert distance(x.grad[:, model.lead - 1] * model.config.hidden_size**0.5, local) < 1e-9


def _first_segment(model: AIR, inputs: Tensor, labels: Tensor, embedded: list[Tensor]) -> Outcome:
    """One training step from fresh states; ``embedded`` receives x, keeping its gradient."""
    embed = model.embed

    def keep(tokens: Tensor) -> Tensor:
        x = embed(tokens)
        x.retain_grad()
        embedded.append(x)
        return x

    model.embed = keep  # type: ignore[method-assign,assignment]
    carry = fresh_carry(model, inputs, labels)
    _, outcome = training_step(model, carry, inputs, labels, NO_EXPLORATION)
    model.embed = embed  # type: ignore[method-assign]
    return outcome


def task_of(metadata: dict[str, str], cells: int) -> Task:
    side = round(cells**0.5)
    if metadata["task"] == "maze":
        return Maze(side)
    box_rows = max(n for n in range(1, side) if side % n == 0 and n * n <= side)
    return Sudoku(box_rows, side // box_rows)


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.stem)
@pytest.mark.parametrize("condition", CONDITIONS)
def test_rollouts_and_freezing(path: Path, condition: str) -> None:
    model, golden, metadata = build(path)
    segments = int(metadata["segments"])
    inputs = golden["batch/inputs"].long()
    boards = decoded_rollout(model, inputs, segments, CONDITIONS[condition])
    for level, shown in boards.items():
        prefix = f"rollout/{condition}"
        assert torch.equal(shown, golden[f"{prefix}/decoded_{level}"])
        for kind, counted in count_changes(shown, int(metadata["mask_token"]))._asdict().items():
            assert torch.equal(counted.sum(dim=0), golden[f"{prefix}/{kind}_{level}"]), kind


@pytest.mark.parametrize("path", PROBES, ids=lambda path: path.stem)
def test_attention_rows(path: Path) -> None:
    """Every row of the reference: puzzle, segment, query cell, layer, class, then the masses."""
    model, golden, metadata = build(path)
    inputs, labels = golden["batch/inputs"].long(), golden["batch/labels"].long()
    task = task_of(metadata, inputs.shape[1])
    segments = json.loads(metadata["captured_segments"])
    query = task.query_cells(inputs.numpy(), labels.numpy())
    seen = dict(zip(segments, captured(model, task, inputs, labels, segments), strict=True))
    rows = []
    for puzzle in range(len(inputs)):
        for segment, capture in seen.items():
            for cell in np.flatnonzero(query[puzzle]):
                for layer in range(model.config.layers):
                    pairs = capture.measures[:, layer, :, puzzle, cell].T.reshape(-1)
                    key = [puzzle, segment, cell, layer, capture.adjacent[puzzle, cell]]
                    rows.append([*key, *pairs])
    assert distance_of_rows(np.array(rows), golden["attention/rows"].numpy()) < 1e-7


def distance_of_rows(ours: np.ndarray, theirs: np.ndarray) -> float:
    assert ours.shape == theirs.shape
    assert np.array_equal(ours[:, :5], theirs[:, :5])
    return float(np.abs(ours[:, 5:] - theirs[:, 5:]).max())
