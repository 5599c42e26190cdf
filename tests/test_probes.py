"""The probes: exact, whatever the batch; their definitions stand in test_golden.py as numbers."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from air.checkpoint import save_model, save_snapshots
from air.model.config import ModelConfig
from air.model.network import AIR, Update
from air.model.variants import PAPER_VARIANTS, Variant
from air.probes.attention_maps import attention, captured, nearest
from air.probes.emergence import emergence
from air.probes.freezing import count_changes, freeze
from air.probes.rollouts import rollout
from air.probes.statistics import LEAST_PUZZLES, bootstrap, interval, mean_se
from air.tasks.task import Neighbourhood, Puzzles
from tests.conftest import ROOT


def model_for(puzzles: Puzzles, config: ModelConfig, name: str = "Lx_H") -> AIR:
    """An untrained model whose boards change, and which makes no more of last bits than 1 : 20.

    (Weights three times as large do, by 1e9 within a segment: then processors disagree.)
    """
    task = puzzles.task
    model = AIR(config, Variant.parse(name), len(task.vocabulary), task.cells, "float64", seed=1)
    with torch.no_grad():
        for parameter in model.stacks.parameters():
            parameter.mul_(1.6)
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
            (shown := rollout(model, puzzles, memory, boards=5, depth=5)).boards.z_H,
            shown.measures,
            freeze(model, puzzles, memory, later=[1]),
            attention(model, puzzles, [0, 2], memory).measures,
        )
        for memory in (1e-9, 1.0)  # one puzzle at a time, or all at once
    )
    assert np.array_equal(one[0], many[0])
    for ours, theirs in zip(one[1:], many[1:], strict=True):
        compare(ours.content(), theirs.content())


def compare(ours: Any, theirs: Any) -> None:
    """The same structure, and numbers that agree to five of the six digits that are kept."""
    if isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            compare(ours[key], theirs[key])
    elif isinstance(ours, list):
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            compare(a, b)
    elif isinstance(ours, float):
        assert ours == pytest.approx(theirs, rel=1e-5, abs=1e-7)
    else:
        assert ours == theirs


@pytest.mark.parametrize("variant", PAPER_VARIANTS)
def test_every_variant_can_be_probed(
    variant: str, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(4)
    model = model_for(puzzles, small_model, variant)
    shown = rollout(model, puzzles, boards=2)
    assert shown.boards.z_L.shape == (2, 18, 16)
    frozen = freeze(model, puzzles)
    assert frozen.freeze_H.z_H.token_changes.mean == 0
    assert frozen.freeze_L.z_L.token_changes.mean == 0
    looked = attention(model, puzzles, [0, 1]).measures
    queries = looked.control.queries + looked.adjacent.queries
    assert queries == 2 * (puzzles.inputs == 1).sum()


def test_curves_and_boards_agree(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1]
    shown = rollout(model_for(puzzles, small_model), puzzles, boards=len(puzzles))
    for state in ("z_L", "z_H"):
        boards = getattr(shown.boards, state)
        accuracy = (boards == puzzles.labels[:, None]).mean(axis=2)
        found = shown.measures.state(state)
        mean, se = mean_se(accuracy)
        assert found.cell_accuracy.mean == pytest.approx(mean, rel=1e-5)
        assert found.cell_accuracy.se == pytest.approx(se, rel=1e-5)
        undecided = (boards == 1).mean(axis=(0, 2))
        assert found.undecided.mean == pytest.approx(undecided, abs=1e-5)


def test_freezing_later_changes_nothing_before(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    """Up to segment k all is as it was; from there on the frozen state stands still."""
    puzzles = sudokus[1]
    model = model_for(puzzles, small_model)
    measures = freeze(model, puzzles, later=[2]).content()
    updates = small_model.updates_per_segment
    for level, state, other in (("H", "z_H", "z_L"), ("L", "z_L", "z_H")):
        frozen = measures[f"freeze_{level}_from_2"]
        for kind in ("mask_flips", "content_changes", "token_changes"):
            curve = frozen[state][kind]["per_transition"]
            normal = measures["normal"][state][kind]["per_transition"]
            assert curve[: 2 * updates - 1] == normal[: 2 * updates - 1]
            assert not any(curve[2 * updates - 1 :])
            effect = measures["effects"][f"freeze_{level}_from_2"]
            assert (effect["state"], effect["from_segment"]) == (other, 2)
        curve = np.array(frozen[other]["content_changes"]["per_transition"])
        normal = np.array(measures["normal"][other]["content_changes"]["per_transition"])
        difference = (curve - normal)[2 * updates - 1 :].sum()
        assert effect["content_changes"] == pytest.approx(difference, abs=1e-3)
    # from the start on, no input reaches z_H of Lx_H: every puzzle takes the same way
    assert measures["freeze_L"]["z_H"]["token_changes"]["se"] == 0


def test_margins_distances_and_depth_by_hand(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(3)
    model = model_for(puzzles, small_model)
    measures = rollout(model, puzzles, depth=5).measures.content()
    query = torch.from_numpy(puzzles.inputs == 1)
    with torch.no_grad():
        x = model.embed(torch.from_numpy(puzzles.inputs.astype(np.int64)))
        states = [model.fresh_states(3)]
        for _ in range(5):
            states.append(model.segment(x, *states[-1]))
    for place, state in enumerate(("z_L", "z_H")):
        entry = measures[state]
        logits = model.decode(states[3][place]).double()
        s = torch.where(logits < 0, 1 / (1 - logits), logits + 1)
        p = (s / s.sum(-1, keepdim=True)).sort(descending=True).values
        margin = ((p[..., 0] - p[..., 1]) * query).sum(1) / query.sum(1)
        assert entry["margin"]["mean"][-1] == pytest.approx(margin.mean().item(), rel=1e-4)
        old, new = (states[k][place][:, 1:].flatten(1) for k in (1, 2))
        moved = ((new - old).norm(dim=1) / old.norm(dim=1)).mean().item()
        assert entry["distance"]["mean"][0] == pytest.approx(moved, rel=1e-4)
        assert len(entry["distance"]["mean"]) == small_model.max_segments - 1
        boards = model.decode(states[5][place]).argmax(-1).numpy()
        exact = (boards == puzzles.labels).all(axis=1).mean()
        assert entry["exact_by_segment"]["mean"][4] == exact
    last_L, last_H = (model.decode(z).argmax(-1) for z in states[3])
    agreement = (last_L == last_H).double().mean().item()
    assert measures["agreement"]["mean"][-1] == pytest.approx(agreement, rel=1e-5)


def test_a_puzzle_without_query_cells_is_left_out_of_margins(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(5)
    model = model_for(puzzles, small_model)
    inputs = puzzles.inputs.copy()
    inputs[4] = puzzles.labels[4]  # nothing left to fill in
    solved = Puzzles(puzzles.task, inputs, puzzles.labels, 0)
    measures = rollout(model, solved).measures.content()
    fewer = rollout(model, puzzles.first(4)).measures.content()
    assert measures["margin_lead"] == pytest.approx(fewer["margin_lead"], rel=1e-4)
    compare(measures["z_H"]["margin"], fewer["z_H"]["margin"])


def test_other_updates_can_be_looked_at(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    """An L-update after the H-update, too: its board still is the one that counts."""
    puzzles = sudokus[1]
    model = model_for(puzzles, small_model)
    first = attention(model, puzzles, [1]).measures
    updates = Update("L", 1, 1), Update("H", 0, 0)
    later = attention(model, puzzles, [1], updates=updates).measures
    assert later.control.queries == first.control.queries  # the same board
    ours, theirs = (found.adjacent.contrasts["d_nbr"] for found in (later, first))
    assert ours.H == theirs.H
    assert ours.L != theirs.L


def test_the_documented_example_runs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    small_model: ModelConfig,
    sudokus: tuple[Puzzles, Puzzles],
) -> None:
    text = (ROOT / "docs" / "probes.md").read_text(encoding="utf-8")
    example = text.split("```python\n")[1].split("```")[0]
    model = tmp_path / "results/sudoku/Lx_H/seed0/model.safetensors"
    trained = model_for(sudokus[1], small_model)
    save_model(trained, model, {})
    start = {name: weight.detach() for name, weight in trained.named_parameters()}
    save_snapshots(trained, {0: start}, model.with_name("snapshots.safetensors"), {})
    sudokus[1].save(tmp_path / "data/sudoku/test.safetensors", "test")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(example, names)
    assert names["found"].boards.z_H.shape[2] == 16


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


@pytest.mark.parametrize("counted", [0, 1, LEAST_PUZZLES - 1, LEAST_PUZZLES])
def test_too_few_puzzles_have_no_interval(counted: int) -> None:
    """Resampled, one puzzle is always itself: its interval would have no width."""
    counts = (np.arange(100) < counted).astype(float)[:, None].repeat(2, axis=1)
    counts[:, 1] = 1.0
    sums = counts * np.random.default_rng(0).normal(size=(100, 1))
    few, all_of_them = bootstrap(sums, counts).T
    assert np.isnan(few).all() == (counted < LEAST_PUZZLES)
    assert all_of_them[0] < all_of_them[1]
    ends = interval(sums[:counted, 0])
    assert (ends == [None, None]) == (counted < LEAST_PUZZLES)


def test_puzzles_with_nothing_to_fill_in_have_no_margins(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    labels = sudokus[1].first(3).labels
    solved = Puzzles(sudokus[1].task, labels, labels, 0)
    model = model_for(solved, small_model)
    measures = rollout(model, solved).measures
    assert (measures.margin_lead, measures.margin_lead_interval) == (None, [None, None])
    assert set(measures.z_H.margin.mean) == {None}
    assert measures.z_H.undecided_overall is not None
    (snapshot,) = emergence([(0, model)], solved, [0]).measures.snapshots
    assert (snapshot.margin_lead.mean, snapshot.margin_lead.interval) == (None, [None, None])


def test_segments_may_be_named_in_any_order(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(3)
    model = model_for(puzzles, small_model)
    sorted_, mixed = attention(model, puzzles, [0, 2]), attention(model, puzzles, [2, 0, 2])
    assert mixed.measures == sorted_.measures
    assert mixed.measures.segments == [0, 2]
    assert np.array_equal(mixed.maps.attention, sorted_.maps.attention)


@pytest.mark.parametrize("name", ["sudokus", "mazes"])
def test_the_map_of_one_cell_is_what_the_contrasts_are_made_of(
    name: str, small_model: ModelConfig, request: pytest.FixtureRequest
) -> None:
    """Its mass on the neighbourhood, L minus H, is the cell's own contrast."""
    puzzles = request.getfixturevalue(name)[1].first(5)
    model, task = model_for(puzzles, small_model), puzzles.task
    maps = attention(model, puzzles, [0, 2], memory_gib=1e-9, maps=3).maps
    assert maps.attention.shape == (3, 2, 2, small_model.layers, task.cells)
    assert np.allclose(maps.attention.sum(axis=-1), 1, atol=1e-5)
    assert task.query_cells(maps.inputs, maps.labels)[np.arange(3), maps.query].all()
    inputs, labels = (torch.from_numpy(cells).long() for cells in (maps.inputs, maps.labels))
    for place, capture in enumerate(captured(model, task, inputs, labels, [0, 2])):
        mass = (maps.attention[:, place] * maps.near[:, None, None]).sum(axis=-1)
        for puzzle, query in enumerate(maps.query):
            expected = capture.measures[:, :, 0, puzzle, query]
            assert np.allclose(mass[puzzle], expected, atol=1e-5)
        assert np.array_equal(capture.board, maps.board[:, place])
        violations = task.violations(maps.board[:, place], maps.labels)
        assert np.array_equal(violations, maps.violations[:, place])
        # its mass on each part of the neighbourhood likewise
        for part, matrix in enumerate(nearest(task).parts.values()):
            mass = (maps.attention[:, place] * matrix[maps.query][:, None, None]).sum(axis=-1)
            for puzzle, query in enumerate(maps.query):
                expected = capture.parts[:, :, part, puzzle, query]
                assert np.allclose(mass[puzzle], expected, atol=1e-5)
    assert maps.heads is not None
    assert maps.heads.shape == (3, 2, 2, small_model.layers, small_model.heads, task.cells)
    assert np.allclose(maps.heads.mean(axis=4, dtype=np.float32), maps.attention, atol=1e-3)


def test_parts_of_a_neighbourhood_are_measured_as_the_whole_is(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles], mazes: tuple[Puzzles, Puzzles]
) -> None:
    """Row, column and box cover nbr: each of them holds less, all together more than it."""
    puzzles = sudokus[1].first(6)
    model = model_for(puzzles, small_model)
    measures = attention(model, puzzles, [0, 2]).measures
    whole = measures.control.contrasts["d_nbr"]
    parts = measures.control.parts
    assert list(parts) == ["d_row", "d_column", "d_box"]
    for level in "LH":
        masses = np.array([getattr(part, level) for part in parts.values()])  # [parts, layers]
        assert (masses < getattr(whole, level)).all()
        assert (masses.sum(axis=0) > getattr(whole, level)).all()
    for part in parts.values():
        mean, of_L, of_H = (np.array(values, float) for values in (part.mean, part.L, part.H))
        assert np.allclose(mean, of_L - of_H, atol=1e-5)
        assert part.all_layers.mean == pytest.approx(mean.mean(), abs=1e-5)
    # a part that is the whole has the whole's numbers
    task = copy.copy(puzzles.task)
    matrix, divisor, _ = nearest(task)
    task.neighbourhoods = {"nbr": Neighbourhood(matrix, divisor, {"all": matrix})}
    same = attention(model, dataclasses.replace(puzzles, task=task), [0, 2]).measures
    compare(same.control.parts["d_all"].content(), whole.content())
    assert same.control.content()["d_nbr"] == whole.content()
    # a task without parts has no such key
    of_maze = attention(model_for(mazes[1], small_model), mazes[1].first(3), [0]).measures
    assert "parts" not in of_maze.content()["control"]


def test_kept_violations_are_those_of_the_kept_boards(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(6)
    boards = rollout(model_for(puzzles, small_model), puzzles, 1e-9, boards=4).boards
    for level in "LH":
        for shown, violations in zip(*boards.of(level), strict=True):
            labels = np.zeros_like(shown)  # a Sudoku's conflicts do not depend on the answer
            assert np.array_equal(puzzles.task.violations(shown, labels), violations)
