"""Groups of runs compared: intervals against scipy, regimes on made-up curves."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy.stats import ttest_ind

from air.reporting.comparisons import (
    LEAST_RUNS,
    RISE,
    SATURATED,
    contrast,
    progress,
    regime,
    runs_to_decide,
)
from air.reporting.inputs import Train
from tests.made_up import checked

CONSTANT = checked([]).params.task("sudoku").train
ANNEALED = CONSTANT.model_copy(update={"schedule": "cosine", "lr_final": 0.0})
shares = st.lists(st.integers(0, 1000), min_size=3, max_size=9, unique=True).map(
    lambda values: np.array(values) / 1000
)


@given(shares, shares)
def test_two_groups_are_welchs_interval(ours: np.ndarray, others: np.ndarray) -> None:
    effect, ends = contrast([ours, others], [1, -1])
    wanted = ttest_ind(ours, others, equal_var=False).confidence_interval(0.95)
    assert effect == pytest.approx(ours.mean() - others.mean(), abs=1e-6)
    assert ends == pytest.approx(list(wanted), abs=2e-6)


def test_an_interval_needs_runs() -> None:
    two, three = np.array([0.1, 0.2]), np.array([0.1, 0.2, 0.3])
    assert LEAST_RUNS == 3
    assert contrast([two, three], [1, -1]) == (-0.05, None)
    assert contrast([three, three], [1, -1])[1] is not None


def test_runs_that_are_all_alike_have_no_interval() -> None:
    """Puzzles are whole: that three runs solve the same number does not mean that all would."""
    ours, others = np.full(3, 0.5), np.full(3, 0.499)
    assert contrast([ours, others], [1, -1]) == (0.001, None)
    assert runs_to_decide(ours, others) is None
    assert contrast([ours, np.array([0.4, 0.5, 0.6])], [1, -1])[1] is not None


def test_three_groups_cover_the_truth() -> None:
    """The interval of runs - base - (full - base) / 2 covers the true value 95 times in 100."""
    random = np.random.default_rng(0)
    covered = 0
    for _ in range(1000):
        runs, base, full = (
            random.normal(mean, spread, size)
            for mean, spread, size in ((0.58, 0.02, 3), (0.5, 0.04, 5), (0.6, 0.02, 4))
        )
        _, ends = contrast([runs, base, full], [1, -0.5, -0.5])
        assert ends is not None
        covered += ends[0] < 0.58 - 0.55 < ends[1]
    assert 930 <= covered <= 985


@example(
    np.array([0, 49, 94, 541, 656]) / 1000,
    np.array([40, 46, 192, 216, 334, 351, 360, 594, 902]) / 1000,
)
@given(shares, shares)
def test_so_many_runs_would_decide(ours: np.ndarray, others: np.ndarray) -> None:
    """With n runs of the same means and spreads the interval excludes 0, with n - 1 it does not."""
    n = runs_to_decide(ours, others)
    if n is None:
        return
    least = max(LEAST_RUNS, min(len(ours), len(others)) + 1)
    assert n >= least
    if n > 200:
        return

    def scaled(group: np.ndarray, size: int) -> np.ndarray:
        values = (
            np.resize([-1.0, 1.0], size)
            if size % 2 == 0
            else np.r_[0, np.resize([-1, 1], size - 1)]
        )
        return group.mean() + values * group.std(ddof=1) / values.std(ddof=1)

    def ends(size: int) -> list[float]:
        found = contrast([scaled(ours, size), scaled(others, size)], [1, -1])[1]
        assert found is not None
        return found

    # an end that is rounded to 0 may lie on either side of it
    low, high = ends(n)
    assert low >= 0 or high <= 0
    if n > least:
        low, high = ends(n - 1)
        assert low <= 0 <= high


def curve(values: list[float] | np.ndarray) -> pd.DataFrame:
    return pd.DataFrame({"step": 50 * np.arange(1, len(values) + 1), "exact_accuracy": values})


def test_progress_by_hand() -> None:
    accuracy, rise = progress(curve([0.0] * 6 + [0.2, 0.3, 0.5, np.nan]))
    assert accuracy == pytest.approx(0.5)
    assert rise == pytest.approx(0.5 - 0.25)


@pytest.mark.parametrize(
    ("values", "train", "wanted"),
    [
        (np.full(100, 0.6), CONSTANT, "converged"),
        (np.full(100, 0.6), ANNEALED, "still learning"),  # the learning rate stopped it
        (np.full(100, SATURATED), ANNEALED, "converged"),  # nothing is left to learn
        (np.linspace(0, 0.9, 100), CONSTANT, "still learning"),
        (np.r_[np.full(80, 0.5), np.full(20, 0.5 + 0.9 * RISE)], CONSTANT, "converged"),
        (np.r_[np.full(80, 0.5), np.full(20, 0.5 + 1.1 * RISE)], CONSTANT, "still learning"),
        (np.r_[np.full(80, 0.7), np.full(20, 0.6)], CONSTANT, "converged"),  # swings count as noise
        (np.r_[np.full(60, 0.5), np.full(40, np.nan)], CONSTANT, "unknown"),
    ],
)
def test_regime_of_one_run(values: np.ndarray, train: Train, wanted: str) -> None:
    assert regime([curve(values)], train).regime == wanted


def test_regime_of_a_group_is_that_of_its_mean() -> None:
    up = np.r_[np.full(80, 0.5), np.full(20, 0.55)]
    down = np.r_[np.full(80, 0.5), np.full(20, 0.47)]
    assert regime([curve(up), curve(down)], CONSTANT).content() == {
        "regime": "converged", "training_accuracy": 0.51, "rise": 0.01,
    }  # fmt: skip
    assert regime([curve(up), curve(up), curve(down)], CONSTANT).regime == "still learning"
    assert regime([], CONSTANT).content() == {"regime": "unknown"}
