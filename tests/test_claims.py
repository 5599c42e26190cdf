"""Verdicts follow their rules, on results made up by hand."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from air.model.variants import Variant
from air.reporting import claims
from air.reporting.study import Study
from tests.conftest import ROOT, TITLES


class MadeUp(Study):
    """A study whose accuracies and probes are given, not read."""

    def accuracy(self, task: str, variant: str, measure: str = "exact_accuracy") -> np.ndarray:
        return np.array(self.params[task]["accuracies"].get(variant, []), dtype=float)

    def curves(self, task: str) -> dict[tuple[str, int], pd.DataFrame]:
        section = self.params[task]
        curve = pd.DataFrame({"step": range(1, 101), "exact_accuracy": section["curve"]})
        return {(name, 0): curve for name in section["accuracies"]}

    def solved(self, task: str, run: tuple[str, int]) -> float:
        return float(self.params[task]["solved"])

    def probe(self, task: str, name: str) -> dict[tuple[str, int], Any]:
        found: dict[tuple[str, int], Any] = self.params[task]["probes"].get(name, {})
        return found


FLAT = np.full(100, 0.7)


def study(
    accuracies: dict[str, list[float]] | None = None,
    solved: float = 0.5,
    curve: np.ndarray = FLAT,
    **probes: Any,
) -> Study:
    accuracies = accuracies or {}
    section = {
        "accuracies": accuracies,
        "curve": curve,
        "train": {"schedule": "constant", "lr_final": 1.0},
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
        ({"Lx_H": [0.9, 0.91], "Lx_Hx": [0.1, 0.11]}, "inconclusive"),  # too few runs
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
    # both spreads are .01 and both groups have 3 runs: t(.975, 4) = 2.776 standard errors
    assert found["interval"][0] == pytest.approx(0.1 - 2.776 * (2 * 1e-4 / 3) ** 0.5, abs=1e-5)
    assert found["published"] == pytest.approx(0.600 - 0.521)
    assert found["best_shared"] == {"variant": "Lx_H", "exact_accuracy": 0.61}
    assert (found["hrm"]["runs"], found["hrm"]["exact_accuracy"]) == (1, 0.55)


@pytest.mark.parametrize(
    ("claim", "accuracies"),
    [
        (claims.injection, {"Lx_H": HIGH, "Lx_Hx": LOW}),
        (claims.injection, {"Lx_H": LOW, "Lx_Hx": HIGH}),
        (claims.level_tokens, {"Lx_H": HIGH, "L2x_H2x": LOW, "level_token_addition": LOW,
                               "level_token_prepend": HIGH, "level_token_prepend_no_strip": LOW}),
        (claims.operators, {"Lx_H": HIGH, "operator_minus": HIGH}),
        (claims.operators, {"Lx_H": HIGH, "operator_minus": LOW}),
    ],
)  # fmt: skip
def test_models_that_still_learn_decide_nothing(
    claim: Any, accuracies: dict[str, list[float]]
) -> None:
    decided = claim(study(accuracies), "sudoku")
    assert decided["verdict"] in ("holds", "fails")
    assert decided["regime"] == "converged"
    rising = claim(study(accuracies, curve=np.linspace(0, 0.7, 100)), "sudoku")
    assert (rising["verdict"], rising["regime"]) == ("inconclusive", "still learning")
    unknown = claim(study(accuracies, curve=np.full(100, np.nan)), "sudoku")
    assert (unknown["verdict"], unknown["regime"]) == ("inconclusive", "unknown")


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
        ([0.5, 0.5], "inconclusive"),  # too few runs
    ],
)
def test_operators(minus: list[float], verdict: str) -> None:
    found = claims.operators(study({"Lx_H": HIGH, "operator_minus": minus}), "sudoku")
    assert found["verdict"] == verdict


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
