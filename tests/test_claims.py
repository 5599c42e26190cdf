"""Verdicts follow their rules, on results made up by hand."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest

from air.reporting import claims
from air.reporting.claims import CLAIMS
from air.reporting.claims.claim import OfRun, Verdict, over_runs, over_tasks, tally
from air.reporting.claims.picture import Picture, Point
from air.reporting.study import Run, Study
from air.results.attention import AttentionMeasures, Cells, Contrast, Overall
from air.results.emergence import (
    CellsAt,
    ContrastAt,
    Contrasts,
    EmergenceMeasures,
    Snapshot,
    StateAt,
)
from air.results.freeze import Changes, Condition, Effect, Effects, FreezeMeasures, Moved
from air.results.record import Curve, Record
from air.results.rollout import RolloutMeasures, State
from tests.made_up import MadeUp, study

HIGH, LOW = [0.60, 0.62, 0.61], [0.50, 0.51, 0.52]
UP, DOWN, ZERO = [0.1, 0.2], [-0.2, -0.1], [-0.1, 0.1]


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ({"Lx_H": HIGH, "L2x_Hx": HIGH, "Lx_Hx": LOW}, "holds"),
        ({"Lx_H": LOW, "L_Hx": LOW, "L2x_H2x": HIGH}, "fails"),
        ({"Lx_H": [0.4, 0.6, 0.5], "Lx_Hx": [0.45, 0.65, 0.4]}, "inconclusive"),
        ({"Lx_H": [0.9, 0.91], "Lx_Hx": [0.1, 0.11]}, "inconclusive"),  # too few runs
        ({"Lx_H": HIGH}, "not run"),
        ({"Lx_H": HIGH, "level_token_prepend": LOW}, "not run"),  # a token makes another model
        ({}, "not run"),
    ],
)
def test_injection(accuracies: dict[str, list[float]], verdict: str) -> None:
    assert CLAIMS["C1"].judge(study(accuracies), "sudoku").verdict == verdict


def test_injection_figures_by_hand() -> None:
    made_up = study({"Lx_H": HIGH, "Lx_Hx": LOW, "hrm": [0.55]})
    found = CLAIMS["C1"].judge(made_up, "sudoku").content()
    assert found["effect"] == pytest.approx(0.61 - 0.51)
    # both spreads are .01 and both groups have 3 runs: t(.975, 4) = 2.776 standard errors
    assert found["interval"][0] == pytest.approx(0.1 - 2.776 * (2 * 1e-4 / 3) ** 0.5, abs=1e-5)
    assert found["published"] == pytest.approx(0.600 - 0.521)
    assert found["best_shared"] == {"variant": "Lx_H", "exact_accuracy": 0.61}
    assert (found["hrm"]["runs"], found["hrm"]["exact_accuracy"]) == (1, 0.55)


@pytest.mark.parametrize(
    ("claim", "accuracies"),
    [
        ("C1", {"Lx_H": HIGH, "Lx_Hx": LOW}),
        ("C1", {"Lx_H": LOW, "Lx_Hx": HIGH}),
        ("C4", {"Lx_H": HIGH, "L2x_H2x": LOW, "level_token_addition": LOW,
                               "level_token_prepend": HIGH, "level_token_prepend_no_strip": LOW}),
        ("C6", {"Lx_H": HIGH, "operator_minus": HIGH}),
        ("C6", {"Lx_H": HIGH, "operator_minus": LOW}),
    ],
)  # fmt: skip
def test_models_that_still_learn_decide_nothing(
    claim: str, accuracies: dict[str, list[float]]
) -> None:
    judge = CLAIMS[claim].judge
    decided = judge(study(accuracies), "sudoku").content()
    assert decided["verdict"] in ("holds", "fails")
    assert decided["regime"] == "converged"
    rising = judge(study(accuracies, curve=np.linspace(0, 0.7, 100)), "sudoku").content()
    assert (rising["verdict"], rising["regime"]) == ("inconclusive", "still learning")
    unknown = judge(study(accuracies, curve=np.full(100, np.nan)), "sudoku").content()
    assert (unknown["verdict"], unknown["regime"]) == ("inconclusive", "unknown")


NO_CURVE = Curve(mean=[], se=[])


def rolled(
    z_L: Sequence[float | None] = ZERO,
    z_H: Sequence[float | None] = ZERO,
    lead: list[float] = ZERO,
) -> RolloutMeasures:
    """A rollout with these intervals of undecided shares, and of the lead in margin."""

    def state(ends: list[float | None]) -> State:
        curves = ("cell_accuracy", "undecided", "margin", "distance", "exact_by_segment")
        return State(
            undecided_overall=abs(sum(end or 0 for end in ends)) / 2,
            undecided_overall_interval=ends,
            undecided_moves=0.0,
            **dict.fromkeys(curves, NO_CURVE),
        )

    return RolloutMeasures(
        puzzles=1,
        segments=1,
        updates_per_segment=6,
        agreement=NO_CURVE,
        margin_lead=sum(lead) / 2,
        margin_lead_interval=list(lead),
        z_L=state(list(z_L)),
        z_H=state(list(z_H)),
    )


@pytest.mark.parametrize(
    ("z_L", "z_H", "verdict"),
    [
        ([0.1, 0.2], [0.0, 0.005], "holds"),
        ([0.0, 0.0], [0.0, 0.0], "fails"),
        ([0.1, 0.2], [0.05, 0.1], "fails"),
        ([0.1, 0.2], [0.0, 0.1], "inconclusive"),
    ],
)
def test_commitment(z_L: list[float], z_H: list[float], verdict: str) -> None:
    probed = study(probes={"rollout": {("Lx_H", 0): rolled(z_L, z_H)}})
    assert CLAIMS["C2"].judge(probed, "sudoku").verdict == verdict
    other = study(probes={"rollout": {("Lx_Hx", 0): rolled(z_L, z_H)}})
    assert CLAIMS["C2"].judge(other, "sudoku").verdict == "not run"


@pytest.mark.parametrize(
    ("z_L", "z_H", "verdict"),
    [
        ([None, None], [0.0, 0.005], "inconclusive"),
        ([0.0, 0.0], [None, None], "fails"),
        ([0.1, 0.2], [None, None], "inconclusive"),
    ],
)
def test_commitment_with_too_few_puzzles_for_an_interval(z_L: Any, z_H: Any, verdict: str) -> None:
    probed = study(probes={"rollout": {("Lx_H", 0): rolled(z_L, z_H)}})
    assert CLAIMS["C2"].judge(probed, "sudoku").verdict == verdict
    assert drawn("C2", probed)


def frozen(z_L: list[float], z_H: list[float], normal: float, after: float) -> FreezeMeasures:
    changes = Changes(mean=0.0, se=0.0, per_transition=[0.0])

    def condition(accuracy: float) -> Condition:
        kinds = dict.fromkeys(("mask_flips", "content_changes", "token_changes"), changes)
        moved = Moved(exact_accuracy=accuracy, **kinds)
        return Condition(z_L=moved, z_H=moved)

    def effect(state: Literal["z_L", "z_H"], ends: list[float]) -> Effect:
        return Effect(
            state=state,
            from_segment=0,
            content_changes=sum(ends) / 2,
            interval=[*ends],
            mask_flips=0.0,
            mask_flips_interval=[*ends],
        )

    return FreezeMeasures(
        puzzles=1,
        transitions=1,
        normal=condition(normal),
        freeze_H=condition(after),
        freeze_L=condition(after),
        effects=Effects(freeze_H=effect("z_L", z_L), freeze_L=effect("z_H", z_H)),
    )


@pytest.mark.parametrize(
    ("measures", "sudoku", "maze"),
    [
        (frozen([-9, -8], [3, 4], 0.5, 0.0), "holds", "fails"),
        (frozen([8, 9], [3, 4], 0.5, 0.0), "fails", "holds"),
        (frozen([-9, -8], [3, 4], 0.5, 0.4), "fails", "fails"),
        (frozen([-9, 1], [3, 4], 0.5, 0.0), "inconclusive", "inconclusive"),
    ],
)
def test_freezing(measures: FreezeMeasures, sudoku: str, maze: str) -> None:
    probed = study(probes={"freeze": {("Lx_H", 0): measures}})
    assert CLAIMS["C3"].judge(probed, "sudoku").verdict == sudoku
    assert CLAIMS["C3"].judge(probed, "maze").verdict == maze


@pytest.mark.parametrize("solved", [0.0, 0.1, float("nan")])
def test_a_run_that_has_not_learned_decides_nothing(solved: float) -> None:
    probed = study(
        solved=solved,
        probes={
            "rollout": {("Lx_H", 0): rolled([0.1, 0.2], [0.0, 0.0])},
            "freeze": {("Lx_H", 0): frozen([8, 9], [3, 4], 0.5, 0.0)},
            "attention": {("Lx_H", 0): looked([DOWN, DOWN], [DOWN, UP])},
        },
    )
    verdicts = claims.judge(probed)
    assert {verdicts[name].verdict for name in ("C2", "C3", "C5")} == {"inconclusive"}


TOKENS = {"Lx_H": HIGH, "L2x_H2x": LOW, "level_token_addition": LOW}


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ({**TOKENS, "level_token_prepend": HIGH, "level_token_prepend_no_strip": LOW}, "holds"),
        ({**TOKENS, "level_token_prepend": LOW, "level_token_prepend_no_strip": LOW}, "fails"),
        ({**TOKENS, "level_token_prepend": HIGH, "level_token_prepend_no_strip": HIGH}, "fails"),
        ({**TOKENS, "level_token_prepend": HIGH}, "not run"),
        (
            {**TOKENS, "Lx_H": LOW, "L2x_H2x": HIGH, "level_token_prepend": HIGH,
             "level_token_prepend_no_strip": LOW},
            "inconclusive",  # no gap to close
        ),
    ],
)  # fmt: skip
def test_level_tokens(accuracies: dict[str, list[float]], verdict: str) -> None:
    assert CLAIMS["C4"].judge(study(accuracies), "sudoku").verdict == verdict


def looked(near: Any, violations: Any, overall: Any = ZERO) -> AttentionMeasures:
    """Attention with these intervals per layer, and over all layers."""

    def entry(intervals: Any) -> Contrast:
        nothing: list[float | None] = [0.0] * len(intervals)
        parts = dict.fromkeys(("mean", "interval_rows", "positive", "L", "H"), nothing)
        mean = (overall[0] + overall[1]) / 2
        every = Overall(mean=mean, interval=list(overall))
        return Contrast(all_layers=every, interval=intervals, **parts)

    contrasts: Any = {"d_nbr": entry(near), "d_ent": entry(near), "d_viol": entry(violations)}
    cells = Cells(queries=9, puzzles=1, **contrasts)
    return AttentionMeasures(puzzles=1, segments=[0], control=cells, adjacent=cells)


@pytest.mark.parametrize(
    ("near", "violations", "sudoku", "maze"),
    [
        ([UP, UP], [DOWN, UP], "holds", "holds"),
        ([UP, UP], [UP, UP], "inconclusive", "holds"),  # routing in the first layer already
        ([UP, UP], [ZERO, DOWN], "fails", "holds"),
        ([DOWN, DOWN], [DOWN, UP], "fails", "fails"),
        ([UP, ZERO], [DOWN, UP], "inconclusive", "inconclusive"),
        ([[None, None], UP], [DOWN, UP], "inconclusive", "inconclusive"),  # no such cells
    ],
)
def test_locality(near: Any, violations: Any, sudoku: str, maze: str) -> None:
    probed = study(probes={"attention": {("Lx_H", 0): looked(near, violations)}})
    assert CLAIMS["C5"].judge(probed, "sudoku").verdict == sudoku
    assert CLAIMS["C5"].judge(probed, "maze").verdict == maze


@pytest.mark.parametrize(
    ("minus", "verdict"),
    [
        (HIGH, "holds"),
        (LOW, "fails"),
        ([0.55, 0.62, 0.58], "inconclusive"),
        ([0.5, 0.5], "inconclusive"),  # too few runs
    ],
)
def test_operators(minus: list[float], verdict: str) -> None:
    found = CLAIMS["C6"].judge(study({"Lx_H": HIGH, "operator_minus": minus}), "sudoku")
    assert found.verdict == verdict


@pytest.mark.parametrize("other", ["Lx_Hx+linear", "L-1x_H-1x", "Lx_H+linear+prepend"])
def test_operators_are_compared_where_the_input_enters_asymmetrically(other: str) -> None:
    """And in models that differ in nothing else."""
    made_up = study({"Lx_H": HIGH, "operator_minus": HIGH, other: LOW})
    found = CLAIMS["C6"].judge(made_up, "sudoku")
    assert found.verdict == "holds"
    assert other not in found.evidence()


def test_no_operator_decides_before_all_have_finished_learning() -> None:
    class Rising(MadeUp):
        def curves(self, task: str) -> dict[Run, pd.DataFrame]:
            found = super().curves(task)
            rising = found["operator_linear", 0].assign(exact_accuracy=np.linspace(0, 0.7, 100))
            return {**found, ("operator_linear", 0): rising}

    runs = {"Lx_H": HIGH, "operator_minus": LOW, "operator_linear": HIGH}
    plain = study(runs)
    assert CLAIMS["C6"].judge(plain, "sudoku").verdict == "fails"
    found = (
        CLAIMS["C6"]
        .judge(Rising(plain.checked, plain.published, accuracies=runs), "sudoku")
        .content()
    )
    assert (found["verdict"], found["regime"]) == ("inconclusive", "still learning")


@pytest.mark.parametrize(
    ("effects", "verdict"),
    [
        ({"Lx_H": (0.05, 0.06), "L_Hx": (-0.06, -0.05), "Lx_Hx": (-0.002, 0.001)}, "holds"),
        ({"Lx_H": (0.05, 0.06), "Lx_Hx": (-0.002, 0.001)}, "holds"),
        ({"Lx_H": (0.05, 0.06), "L2x_H": (0.02, 0.04)}, "inconclusive"),  # nothing to compare with
        ({"Lx_H": (0.05, 0.06), "L_Hx": (0.05, 0.06), "Lx_Hx": (0.05, 0.06)}, "fails"),
        ({"Lx_H": (0.05, 0.06), "L_Hx": (-0.06, -0.05), "Lx_Hx": (0.0, 0.02)}, "inconclusive"),
        ({"hrm": (0.05, 0.06)}, "not run"),  # it does not only add the input
    ],
)
def test_the_local_update_receives_the_input(
    effects: dict[str, tuple[float, float]], verdict: str
) -> None:
    probed = {(variant, 0): looked([ZERO], [ZERO], ends) for variant, ends in effects.items()}
    accuracies = {variant: [0.5] for variant in effects}
    made_up = study(accuracies, probes={"attention": probed})
    assert CLAIMS["X1"].judge(made_up, "sudoku").verdict == verdict
    unlearned = study(accuracies, solved=0.05, probes={"attention": probed})
    judged = CLAIMS["X1"].judge(unlearned, "sudoku").verdict
    assert judged == ("not run" if verdict == "not run" else "inconclusive")


@pytest.mark.parametrize(
    ("symmetric", "verdict"), [((-0.004, 0.004), "holds"), ((0.05, 0.07), "inconclusive")]
)
def test_z_H_is_surer(symmetric: tuple[float, float], verdict: str) -> None:
    leads = {"Lx_H": (0.05, 0.08), "L_Hx": (0.03, 0.04), "Lx_Hx": symmetric}
    probed = {(variant, 0): rolled(lead=list(ends)) for variant, ends in leads.items()}
    made_up = study({variant: [0.5] for variant in leads}, probes={"rollout": probed})
    assert CLAIMS["X2"].judge(made_up, "maze").verdict == verdict


def drawn(number: str, made_up: Study, task: str = "sudoku") -> list[Picture]:
    claim = CLAIMS[number]
    return claim.pictures(task, claim.judge(made_up, task))


def test_nothing_is_drawn_of_what_was_not_run() -> None:
    for number, claim in CLAIMS.items():
        for task in claim.tasks:
            assert drawn(number, study(), task) == []
            assert "not part of this study" in claim.judge(study(), task).summary()


def test_differences_of_groups_are_drawn_with_their_intervals() -> None:
    made_up = study({"Lx_H": HIGH, "Lx_Hx": LOW, "operator_minus": LOW, "operator_linear": [0.6]})
    (picture,) = drawn("C1", made_up)
    (row,) = picture.rows
    found = CLAIMS["C1"].judge(made_up, "sudoku").content()
    assert row.points == [Point(found["effect"], found["interval"])]
    assert row.published == found["published"]
    (picture,) = drawn("C6", made_up)
    assert picture.none == (-0.05, 0.05)
    assert [row.name for row in picture.rows] == ["minus", "linear"]
    minus, linear = (row.points[0] for row in picture.rows)
    assert minus.value == pytest.approx(-0.1)
    assert minus.interval is not None
    assert linear.value == pytest.approx(-0.01)
    assert linear.interval is None  # of a single run


def test_level_tokens_are_drawn_against_the_gap() -> None:
    runs = {**TOKENS, "level_token_prepend": HIGH, "level_token_prepend_no_strip": LOW}
    (picture,) = drawn("C4", study(runs))
    assert picture.none == pytest.approx((0, 0.05))  # half of the gap
    found = {row.name: row.points[0].value for row in picture.rows}
    assert found == pytest.approx(
        {"Lx_H": 0.1, "prepend": 0.1, "addition": 0, "prepend_no_strip": 0}
    )
    assert "regains 100 % of it" in CLAIMS["C4"].judge(study(runs), "sudoku").summary()


def test_every_probed_run_is_a_dot() -> None:
    probes: dict[str, dict[Run, Record]] = {
        "rollout": {("Lx_H", 0): rolled([0.1, 0.2], [0, 0.004]), ("Lx_H", 3): rolled(ZERO, ZERO)},
        "freeze": {("Lx_H", 0): frozen([-9, -8], [3, 4], 0.5, 0.0)},
        "attention": {("Lx_H", 0): looked([UP, DOWN], [DOWN, UP], UP),
                      ("L_Hx", 0): looked([UP, DOWN], [DOWN, UP], DOWN)},
    }  # fmt: skip
    made_up = study({"Lx_H": [0.5], "L_Hx": [0.5]}, probes=probes)
    (picture,) = drawn("C2", made_up)
    committed = picture.none
    assert committed == (0.0, 0.01)
    assert [row.points[0].value for row in picture.rows] == pytest.approx([0.15, 0.002])
    assert [row.points[0].interval for row in picture.rows] == [[0.1, 0.2], [0, 0.004]]
    assert [len(row.points) for row in picture.rows] == [2, 2]
    (picture,) = drawn("C3", made_up)
    paper = made_up.published.freeze["sudoku"]
    published = paper.freeze_H.z_L - paper.normal.z_L, paper.freeze_L.z_H - paper.normal.z_H
    assert [row.points for row in picture.rows] == [[Point(-8.5, [-9, -8])], [Point(3.5, [3, 4])]]
    assert tuple(row.published for row in picture.rows) == published
    near, broken = drawn("C5", made_up)
    assert [row.points[0].interval for row in near.rows] == [UP, DOWN]
    assert [row.points[0].interval for row in broken.rows] == [DOWN, UP]
    assert [row.published for row in near.rows] == [
        mean for mean, _ in made_up.published.attention["sudoku"].nearest
    ][:2]
    assert len(drawn("C5", made_up, "maze")) == 1  # violations are said of Sudoku alone
    (picture,) = drawn("X1", made_up)
    assert {row.name: row.points[0].interval for row in picture.rows} == {"Lx_H": UP, "L_Hx": DOWN}
    hollow = study({"Lx_H": [0.5]}, solved=0.05, probes=probes)
    assert not drawn("C3", hollow)[0].rows[0].points[0].decides


@pytest.mark.parametrize(
    ("verdicts", "solved", "said"),
    [
        (["holds"], 0.5, "1 of 1 run as claimed."),
        (["fails", "fails"], 0.5, "0 of 2 runs as claimed, 2 not."),
        (["inconclusive", "holds", "fails"], 0.5, "1 of 3 runs as claimed, 1 not, 1 undecided."),
        (["inconclusive", "fails"], 0.05, "0 of 2 runs as claimed, 2 not learned yet."),
        ([], 0.5, ""),
    ],
)
def test_runs_are_counted_in_words(verdicts: list[Verdict], solved: float, said: str) -> None:
    assert tally([OfRun(verdict=verdict, solved=solved) for verdict in verdicts]) == said


STEPS = (0, 10, 30, 100, 300)
IN, OUT, EDGE = (-0.004, 0.004), (0.02, 0.04), (0.005, 0.03)  # of Sudoku's band, 0.01
BACK = (-0.04, -0.02)
LITTLE, MUCH, MAYBE = (0.0, 0.05), (0.6, 0.8), (0.05, 0.2)
LEARNING = [LITTLE, LITTLE, LITTLE, MUCH, MUCH]


def emerged(contrasts: Sequence[Any], accuracies: Sequence[Any]) -> EmergenceMeasures:
    """A training with these intervals of the pooled contrast, and of accuracy, at its snapshots."""

    def about(ends: Sequence[float | None]) -> Overall:
        known = [end for end in ends if end is not None]
        return Overall(mean=sum(known) / 2 if known else None, interval=list(ends))

    def cells(ends: Sequence[float | None]) -> CellsAt:
        near = ContrastAt(all_layers=about(ends), mean=[0.0], interval=[[0.0, 0.0]])
        return CellsAt(queries=9, d_nbr=near)

    nothing = about((0.0, 0.0))
    state = StateAt(undecided=nothing, margin=nothing, distance=nothing)
    effects = frozen([0, 0], [0, 0], 0.5, 0.0).effects
    return EmergenceMeasures(
        puzzles=1,
        segments=[0],
        snapshots=[
            Snapshot(
                step=step,
                exact_accuracy=about(solved),
                cell_accuracy=nothing,
                agreement=nothing,
                margin_lead=nothing,
                z_L=state,
                z_H=state,
                # of these two classes the claim is to make nothing
                contrast=Contrasts(control=cells(IN), adjacent=cells(IN), pooled=cells(ends)),
                effects=effects,
            )
            for step, ends, solved in zip(STEPS, contrasts, accuracies, strict=True)
        ],
    )


@pytest.mark.parametrize(
    ("contrasts", "accuracies", "verdict", "split", "some"),
    [
        ([IN, IN, OUT, OUT, OUT], LEARNING, "holds", (30, 30), (100, 100)),
        ([IN, IN, BACK, BACK, BACK], LEARNING, "holds", (30, 30), (100, 100)),
        ([IN, OUT, OUT, OUT, OUT], LEARNING, "holds", (10, 10), (100, 100)),
        # accuracy first
        ([IN, IN, IN, IN, OUT], LEARNING, "fails", (300, 300), (100, 100)),
        # never
        ([IN, IN, IN, IN, IN], LEARNING, "fails", (None, None), (100, 100)),
        # not for good: back within the band, or beyond its other side
        ([IN, OUT, OUT, IN, OUT], LEARNING, "fails", (300, 300), (100, 100)),
        ([IN, OUT, OUT, OUT, BACK], LEARNING, "fails", (300, 300), (100, 100)),
        ([IN, OUT, OUT, OUT, IN], LEARNING, "fails", (None, None), (100, 100)),
        # one snapshot shows both for the first time, also the first after step 0
        ([IN, IN, IN, OUT, OUT], LEARNING, "inconclusive", (100, 100), (100, 100)),
        ([IN, *[OUT] * 4], [LITTLE, *[MUCH] * 4], "inconclusive", (10, 10), (10, 10)),
        # the intervals leave it open
        ([IN, IN, EDGE, OUT, OUT], LEARNING, "inconclusive", (30, 100), (100, 100)),
        ([IN, IN, EDGE, EDGE, OUT], LEARNING, "inconclusive", (30, 300), (100, 100)),
        ([IN, IN, OUT, OUT, EDGE], LEARNING, "inconclusive", (30, None), (100, 100)),
        ([IN, IN, OUT, OUT, OUT], [LITTLE, LITTLE, MAYBE, MUCH, MUCH], "inconclusive",
         (30, 30), (30, 100)),
        ([IN, OUT, OUT, OUT, OUT], [LITTLE, LITTLE, MAYBE, MUCH, MUCH], "holds",
         (10, 10), (30, 100)),
        # some solved after the split, half of the last share before it
        ([IN, IN, IN, OUT, OUT], [LITTLE, *[(0.065, 0.08)] * 3, (0.11, 0.13)],
         "fails", (100, 100), (300, 300)),
        # never, and it is not certain that puzzles are solved
        ([IN] * 5, [LITTLE, LITTLE, LITTLE, MAYBE, (0.04, 0.3)], "inconclusive",
         (None, None), (100, None)),
        # before training
        ([OUT] * 5, LEARNING, "inconclusive", (0, 0), (100, 100)),
        ([EDGE, OUT, OUT, OUT, OUT], LEARNING, "holds", (0, 10), (100, 100)),
        # no puzzle to measure the contrast on
        ([IN, IN, OUT, OUT, (None, None)], LEARNING, "inconclusive", (30, None), (100, 100)),
    ],
)  # fmt: skip
def test_the_split_comes_first(
    contrasts: Any, accuracies: Any, verdict: str, split: Any, some: Any
) -> None:
    probed = study(
        {"Lx_H": [0.7]}, probes={"emergence": {("Lx_H", 0): emerged(contrasts, accuracies)}}
    )
    found = CLAIMS["X3"].judge(probed, "sudoku")
    assert found.verdict == verdict
    order = found.content()["runs"]["Lx_H seed0"]
    assert tuple(order["split"].values()) == split
    assert tuple(order["solved_some"].values()) == some
    assert ("never" in found.evidence()) == (split[0] is None)


FIRST, LAST = (emerged([IN, IN, *near], LEARNING) for near in ([OUT] * 3, [IN, IN, OUT]))


def test_the_split_is_looked_for_where_it_is_expected() -> None:
    def judged(solved: float = 0.7, **runs: EmergenceMeasures) -> Any:
        probes = {"emergence": {(name, 0): measures for name, measures in runs.items()}}
        variants = {name: [solved] for name in runs}
        made_up = study(variants, solved=solved, probes=probes)
        return CLAIMS["X3"].judge(made_up, "sudoku").content()

    never = emerged([IN] * 5, LEARNING)
    found = judged(Lx_H=FIRST, L_Hx=FIRST, Lx_Hx=never, hrm=never)
    assert found["verdict"] == "holds"
    assert list(found["runs"]) == ["Lx_H seed0", "L_Hx seed0"]
    assert judged(Lx_H=FIRST, L_Hx=LAST)["verdict"] == "inconclusive"
    assert judged(Lx_Hx=never) == {"verdict": "not run"}
    for solved in (0.05, float("nan")):
        found = judged(solved, Lx_H=FIRST, L_Hx=LAST)
        assert found["verdict"] == "inconclusive"
        assert {run["verdict"] for run in found["runs"].values()} == {"inconclusive"}


def test_an_unlearned_run_says_nothing_of_the_order() -> None:
    """Nor does it keep the others from deciding."""

    class Mixed(MadeUp):
        def solved(self, task: str, run: Run) -> float:
            return 0.7 if run[0] == "Lx_H" else 0.05

    measures = {("Lx_H", 0): FIRST, ("L_Hx", 0): LAST}
    plain = study({"Lx_H": [0.7], "L_Hx": [0.05]}, probes={"emergence": measures})
    mixed = Mixed(plain.checked, plain.published, probes=plain.probes)
    found = CLAIMS["X3"].judge(mixed, "sudoku")
    assert found.verdict == "holds"
    assert "L_Hx seed 0" in found.evidence()
    assert "(has not learned)" in found.evidence()


@pytest.mark.parametrize("number", ["C2", "C3", "C5", "X1", "X2"])
def test_an_unlearned_run_does_not_keep_the_others_from_deciding(number: str) -> None:
    class Mixed(MadeUp):
        def solved(self, task: str, run: Run) -> float:
            return 0.05 if run[1] == 2 else 0.5

    rollouts: dict[Run, Record] = {}
    freezes: dict[Run, Record] = {}
    attentions: dict[Run, Record] = {}
    for seed in range(3):
        rollouts["Lx_H", seed] = rolled([0.1, 0.2], [0.0, 0.005], UP)
        rollouts["Lx_Hx", seed] = rolled([0.1, 0.2], [0.0, 0.005], [-0.004, 0.004])
        freezes["Lx_H", seed] = frozen([-9, -8], [3, 4], 0.5, 0.0)
        attentions["Lx_H", seed] = looked([UP, UP], [DOWN, UP], UP)
        attentions["Lx_Hx", seed] = looked([UP, UP], [DOWN, UP], [-0.001, 0.001])
    probes = {"rollout": rollouts, "freeze": freezes, "attention": attentions}
    plain = study({"Lx_H": [0.5], "Lx_Hx": [0.5]}, probes=probes)
    assert CLAIMS[number].judge(plain, "sudoku").verdict == "holds"
    mixed = Mixed(plain.checked, plain.published, probes=plain.probes)
    found = CLAIMS[number].judge(mixed, "sudoku")
    assert found.verdict == "holds"
    assert "not learned yet" in found.summary()


def test_verdicts_over_runs_and_tasks() -> None:
    def of(*verdicts: Verdict) -> list[OfRun]:
        return [OfRun(verdict=verdict, solved=0.5) for verdict in verdicts]

    unlearned = OfRun(verdict="fails", solved=0.05)
    assert over_runs([]) == "not run"
    assert over_runs([unlearned]) == "inconclusive"
    assert over_runs([*of("holds", "holds"), unlearned]) == "holds"
    assert over_runs([*of("holds", "fails"), unlearned]) == "inconclusive"
    assert over_runs([*of("holds", "fails", "fails"), unlearned, unlearned]) == "fails"
    assert over_tasks(["holds", "fails"]) == "fails"
    assert over_tasks(["holds", "not run"]) == "inconclusive"
    assert over_tasks(["not run", "not run"]) == "not run"


def test_every_claim_is_judged() -> None:
    verdicts = claims.judge(study())
    assert list(verdicts) == ["C1", "C2", "C3", "C4", "C5", "C6", "X1", "X2", "X3"]
    assert {claim.verdict for claim in verdicts.values()} == {"not run"}
