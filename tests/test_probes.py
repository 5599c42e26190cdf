"""The probes: exact, whatever the batch; their definitions stand in test_golden.py as numbers."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import PUBLISHED, Variant
from air.probes.attention import attention
from air.probes.freeze import count_changes, freeze
from air.probes.rollout import rollout
from air.probes.statistics import bootstrap, mean_se
from air.tasks.task import Puzzles

CPU = torch.device("cpu")


def model_for(puzzles: Puzzles, config: ModelConfig, name: str = "Lx_H") -> AIR:
    """An untrained model with heads that say something, so that boards differ."""
    task = puzzles.task
    model = AIR(config, Variant.parse(name), len(task.vocabulary), task.cells, seed=1)
    with torch.no_grad():
        for parameter in model.stacks.parameters():
            parameter.mul_(3)
    return model


@given(arrays(np.uint8, (4, 2, 9), elements=st.integers(0, 3)))
def test_every_token_change_is_a_flip_or_a_content_change(boards: np.ndarray) -> None:
    flips, content, tokens = count_changes(torch.from_numpy(boards), mask_token=1)
    assert torch.equal(flips + content, tokens)
    by_hand = sum(
        int(boards[t + 1, 0, c] != boards[t, 0, c])
        and int(boards[t + 1, 0, c] != 1 and boards[t, 0, c] != 1)
        for t in range(3)
        for c in range(9)
    )
    assert content[:, 0].sum() == by_hand


@pytest.mark.parametrize("name", ["sudokus", "mazes"])
def test_measures_do_not_depend_on_the_batch(
    name: str, small_model: ModelConfig, request: pytest.FixtureRequest
) -> None:
    puzzles = request.getfixturevalue(name)[1]
    model = model_for(puzzles, small_model)
    one, many = (
        (
            rollout(model, puzzles, size, CPU, boards=5),
            freeze(model, puzzles, size, CPU),
            attention(model, puzzles, [0, 2], size, CPU),
        )
        for size in (1, 20)
    )
    assert np.array_equal(one[0].boards["z_H"], many[0].boards["z_H"])
    for ours, theirs in zip(one, many, strict=True):
        a = ours.measures if hasattr(ours, "measures") else ours
        b = theirs.measures if hasattr(theirs, "measures") else theirs
        compare(a, b)


def compare(ours: Any, theirs: Any) -> None:
    """The same structure, and numbers that agree to float32."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            compare(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-5)
    else:
        assert ours == theirs


@pytest.mark.parametrize("variant", PUBLISHED)
def test_every_variant_can_be_probed(
    variant: str, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(4)
    model = model_for(puzzles, small_model, variant)
    shown = rollout(model, puzzles, 4, CPU, boards=2)
    assert shown.boards["z_L"].shape == (2, 18, 16)
    frozen = freeze(model, puzzles, 4, CPU)
    assert frozen["freeze_H"]["z_H"]["token_changes"]["mean"] == 0
    assert frozen["freeze_L"]["z_L"]["token_changes"]["mean"] == 0
    looked = attention(model, puzzles, [0, 1], 4, CPU)
    queries = looked["control"]["queries"] + looked["adjacent"]["queries"]
    assert queries == 2 * (puzzles.inputs == 1).sum()


def test_curves_and_boards_agree(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1]
    shown = rollout(model_for(puzzles, small_model), puzzles, 7, CPU, boards=len(puzzles))
    for state in ("z_L", "z_H"):
        boards = shown.boards[state]
        accuracy = (boards == puzzles.labels[:, None]).mean(axis=2)
        expected = mean_se(accuracy)
        compare(shown.measures[state]["cell_accuracy"], expected)
        undecided = (boards == 1).mean(axis=(0, 2))
        assert shown.measures[state]["undecided"]["mean"] == pytest.approx(undecided, abs=1e-5)


def test_the_interval_covers_the_mean() -> None:
    """Over many samples, about 95 % of the intervals hold the true mean."""
    random = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        counts = random.integers(1, 9, size=60)
        effect = random.normal(0.5, 1.0, size=60)  # the same for all cells of a puzzle
        low, high = bootstrap(effect * counts, counts)
        held += low < 0.5 < high
    assert 0.89 < held / 300 < 0.99
