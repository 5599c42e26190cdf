"""Verdicts follow their rules, on results made up by hand."""

import math
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML

from air.model.variants import Variant
from air.reporting import claims
from air.reporting.study import Study
from tests.conftest import ROOT, TITLES


class MadeUp(Study):
    """A study whose accuracies and probes are given, not read."""

    def accuracy(self, task: str, variant: str) -> np.ndarray:
        return np.array(self.params[task]["accuracies"].get(variant, []), dtype=float)

    def solved(self, task: str, run: tuple[str, int]) -> float:
        return float(self.params[task]["solved"])

    def probe(self, task: str, name: str) -> dict[tuple[str, int], Any]:
        found: dict[tuple[str, int], Any] = self.params[task]["probes"].get(name, {})
        return found


def study(
    accuracies: dict[str, list[float]] | None = None, solved: float = 0.5, **probes: Any
) -> Study:
    accuracies = accuracies or {}
    section = {
        "accuracies": accuracies,
        "variants": list(accuracies),
        "probes": probes,
        "solved": solved,
    }
    says = {name: vars(Variant.parse(name)) for name in accuracies}

    def read(name: str) -> Any:
        return YAML(typ="safe").load((ROOT / "reports" / name).read_text(encoding="utf-8"))

    params = {"sudoku": section, "maze": section}
    return MadeUp(TITLES, params, says, read("paper.yaml"), read("claims.yaml"))


HIGH, LOW = [0.60, 0.62, 0.61], [0.50, 0.51, 0.52]


@pytest.mark.parametrize(
    ("accuracies", "verdict"),
    [
        ({"Lx_H": HIGH, "L2x_Hx": HIGH, "Lx_Hx": LOW}, "holds"),
        ({"Lx_H": LOW, "L_Hx": LOW, "L2x_H2x": HIGH}, "fails"),
        ({"Lx_H": [0.4, 0.6, 0.5], "Lx_Hx": [0.45, 0.65, 0.4]}, "inconclusive"),
        ({"Lx_H": [0.9], "Lx_Hx": [0.1]}, "inconclusive"),
        ({"Lx_H": HIGH}, "not run"),
        ({"Lx_H": HIGH, "level_token_prepend": LOW}, "not run"),  # a token makes another model
        ({}, "not run"),
    ],
)
def test_injection(accuracies: dict[str, list[float]], verdict: str) -> None:
    assert claims.injection(study(accuracies), "sudoku")["verdict"] == verdict


def test_injection_figures_by_hand() -> None:
    found = claims.injection(study({"Lx_H": HIGH, "Lx_Hx": LOW, "hrm": [0.55]}), "sudoku")
    assert found["effect"] == pytest.approx(0.61 - 0.51)
    assert found["interval"][0] == pytest.approx(0.09, abs=0.01)
    assert found["published"] == pytest.approx(0.600 - 0.521)
    assert found["best_shared"] == {"variant": "Lx_H", "exact_accuracy": 0.61}
    assert found["hrm"] == {"runs": 1, "exact_accuracy": 0.55}


def undecided(z_L: list[float], z_H: list[float]) -> dict[str, Any]:
    return {
        state: {
            "undecided_overall": sum(ends) / 2,
            "undecided_overall_interval": ends,
            "undecided_moves": 0.0,
        }
        for state, ends in (("z_L", z_L), ("z_H", z_H))
    }


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
    probed = study(rollout={("Lx_H", 0): undecided(z_L, z_H)})
    assert claims.commitment(probed, "sudoku")["verdict"] == verdict
    other = study(rollout={("Lx_Hx", 0): undecided(z_L, z_H)})
    assert claims.commitment(other, "sudoku")["verdict"] == "not run"


def frozen(z_L: list[float], z_H: list[float], normal: float, after: float) -> dict[str, Any]:
    def states(accuracy: float) -> dict[str, Any]:
        return {state: {"exact_accuracy": accuracy} for state in ("z_L", "z_H")}

    return {
        "normal": states(normal),
        "freeze_H": states(after),
        "freeze_L": states(after),
        "effects": {
            "freeze_H": {"state": "z_L", "content_changes": sum(z_L) / 2, "interval": z_L},
            "freeze_L": {"state": "z_H", "content_changes": sum(z_H) / 2, "interval": z_H},
        },
    }


@pytest.mark.parametrize(
    ("measures", "sudoku", "maze"),
    [
        (frozen([-9, -8], [3, 4], 0.5, 0.0), "holds", "fails"),
        (frozen([8, 9], [3, 4], 0.5, 0.0), "fails", "holds"),
        (frozen([-9, -8], [3, 4], 0.5, 0.4), "fails", "fails"),
        (frozen([-9, 1], [3, 4], 0.5, 0.0), "inconclusive", "inconclusive"),
    ],
)
def test_freezing(measures: dict[str, Any], sudoku: str, maze: str) -> None:
    probed = study(freeze={("Lx_H", 0): measures})
    assert claims.freezing(probed, "sudoku")["verdict"] == sudoku
    assert claims.freezing(probed, "maze")["verdict"] == maze


@pytest.mark.parametrize("solved", [0.0, 0.1, float("nan")])
def test_a_run_that_has_not_learned_decides_nothing(solved: float) -> None:
    probed = study(
        solved=solved,
        rollout={("Lx_H", 0): undecided([0.1, 0.2], [0.0, 0.0])},
        freeze={("Lx_H", 0): frozen([8, 9], [3, 4], 0.5, 0.0)},
        attention={("Lx_H", 0): looked([DOWN, DOWN], [DOWN, UP])},
    )
    verdicts = claims.judge(probed)
    assert {verdicts[name]["verdict"] for name in ("C2", "C3", "C5")} == {"inconclusive"}


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
    assert claims.level_tokens(study(accuracies), "sudoku")["verdict"] == verdict


def looked(near: Any, violations: Any) -> dict[str, Any]:
    def entry(intervals: Any) -> dict[str, Any]:
        return {"mean": [0.0] * len(intervals), "interval": intervals}

    return {
        "control": {"queries": 9, "d_nbr": entry(near), "d_ent": entry(near)},
        "adjacent": {"d_viol": entry(violations)},
    }


UP, DOWN, ZERO = [0.1, 0.2], [-0.2, -0.1], [-0.1, 0.1]


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
    probed = study(attention={("Lx_H", 0): looked(near, violations)})
    assert claims.locality(probed, "sudoku")["verdict"] == sudoku
    assert claims.locality(probed, "maze")["verdict"] == maze


@pytest.mark.parametrize(
    ("minus", "verdict"),
    [
        (HIGH, "holds"),
        (LOW, "fails"),
        ([0.55, 0.62, 0.58], "inconclusive"),
        ([0.6], "inconclusive"),
    ],
)
def test_operators(minus: list[float], verdict: str) -> None:
    found = claims.operators(study({"Lx_H": HIGH, "operator_minus": minus}), "sudoku")
    assert found["verdict"] == verdict


def test_runs_dealt_at_random() -> None:
    """Exact for small groups: counted by hand; and both rules must agree for a verdict."""
    ours, others = np.array([0.60, 0.62, 0.61]), np.array([0.50, 0.51, 0.52])
    # of the 20 ways to deal six runs, this one and its mirror are as extreme
    assert claims.permuted(ours, others) == pytest.approx(2 / 20)
    five = np.array([0.60, 0.62, 0.61, 0.63, 0.64])
    assert claims.permuted(five, five - 0.1) == pytest.approx(2 / 252, rel=1e-4)
    found = claims.injection(study({"Lx_H": HIGH, "Lx_Hx": LOW}), "sudoku")
    assert (found["verdict"], found["p_permutation"]) == ("inconclusive", 0.1)


def test_how_many_runs_would_decide() -> None:
    ours, others = np.array([0.5, 0.6]), np.array([0.4, 0.5])
    # variances .005 each, effect .1: 1.96^2 * .01 / .01 = 3.84
    assert claims.runs_to_decide(ours, others) == 4
    assert claims.runs_to_decide(ours, ours) is None
    # a spread that two runs would overcome: but dealing 3 and 3 at random is never unlikely
    near = np.array([0.50, 0.51, 0.52])
    assert claims.runs_to_decide(near + 0.1, near) == 4
    assert 2 / math.comb(8, 4) < claims.UNLIKELY < 2 / math.comb(6, 3)
    # what is there already has not decided
    four = np.array([0.50, 0.51, 0.52, 0.53])
    assert claims.runs_to_decide(four + 0.1, four) == 5
    # with so many runs of that spread, the interval would just clear zero
    assert 1.96 * (0.01 / 4) ** 0.5 < 0.1 < 1.96 * (0.01 / 3) ** 0.5


def seen(low: float, high: float) -> dict[str, Any]:
    contrast = {"all_layers": {"mean": (low + high) / 2, "interval": [low, high]}}
    return {"control": {"queries": 9, "d_nbr": contrast, "d_ent": contrast}}


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
    probed = {(variant, 0): seen(*ends) for variant, ends in effects.items()}
    accuracies = {variant: [0.5] for variant in effects}
    made_up = study(accuracies, attention=probed)
    assert claims.input_sided(made_up, "sudoku")["verdict"] == verdict
    unlearned = study(accuracies, solved=0.05, attention=probed)
    told = claims.input_sided(unlearned, "sudoku")["verdict"]
    assert told == ("not run" if verdict == "not run" else "inconclusive")


@pytest.mark.parametrize(
    ("symmetric", "verdict"), [((-0.004, 0.004), "holds"), ((0.05, 0.07), "inconclusive")]
)
def test_z_H_is_surer(symmetric: tuple[float, float], verdict: str) -> None:
    leads = {"Lx_H": (0.05, 0.08), "L_Hx": (0.03, 0.04), "Lx_Hx": symmetric}
    probed = {
        (variant, 0): {"margin_lead": sum(ends) / 2, "margin_lead_interval": list(ends)}
        for variant, ends in leads.items()
    }
    made_up = study({variant: [0.5] for variant in leads}, rollout=probed)
    assert claims.surer(made_up, "maze")["verdict"] == verdict


def test_verdicts_over_runs_and_tasks() -> None:
    assert claims.over_runs([]) == "not run"
    assert claims.over_runs(["holds", "holds"]) == "holds"
    assert claims.over_runs(["holds", "fails"]) == "inconclusive"
    assert claims.over_runs(["holds", "fails", "fails"]) == "fails"
    assert claims.over_tasks(["holds", "fails"]) == "fails"
    assert claims.over_tasks(["holds", "not run"]) == "inconclusive"
    assert claims.over_tasks(["not run", "not run"]) == "not run"


def test_every_claim_is_judged() -> None:
    verdicts = claims.judge(study())
    assert list(verdicts) == ["C1", "C2", "C3", "C4", "C5", "C6", "X1", "X2"]
    assert {claim["verdict"] for claim in verdicts.values()} == {"not run"}
