"""Groups of training runs compared: how their means differ, and whether they had finished learning.

An accuracy says what a model generalises to only once the model has stopped learning; before that
it says how fast the model learns. Which of the two a comparison is about is its *regime*.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy.stats import t as student

from air.reporting.inputs import Train
from air.results.record import Record

Regime = Literal["converged", "still learning", "unknown"]
LEAST_RUNS = 3
RISE = 0.02
SATURATED = 0.95
CONFIDENCE = 0.95
MOST_RUNS = 10_000  # beyond so many runs, no number of runs is suggested


def contrast(
    groups: Sequence[np.ndarray], weights: Sequence[float]
) -> tuple[float, list[float] | None]:
    """A weighted sum of group means, and its 95 % interval by Student's t.

    The groups may differ in spread and size: degrees of freedom by Welch and Satterthwaite. For two
    groups and weights 1 and -1 this is Welch's interval.

    Args:
        groups: values of the runs of each group, ``[n_g]``.

    Returns:
        The effect, and ``[low, high]``; or None if a group has fewer than ``LEAST_RUNS`` runs, or
        if in each all are equal, which says nothing of how far another would be from them.
    """
    effect = float(sum(w * group.mean() for w, group in zip(weights, groups, strict=True)))
    if min(map(len, groups)) < LEAST_RUNS:
        return round(effect, 6), None
    if not any(np.ptp(group) for group in groups):
        return round(effect, 6), None
    parts = np.array([w**2 * g.var(ddof=1) / len(g) for w, g in zip(weights, groups, strict=True)])
    variance = parts.sum()
    freedom = variance**2 / (parts**2 / [len(group) - 1 for group in groups]).sum()
    half = float(student.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(variance))
    return round(effect, 6), [round(effect - half, 6), round(effect + half, 6)]


def runs_to_decide(ours: np.ndarray, others: np.ndarray) -> int | None:
    """Runs per group at which an effect and spreads like these would exclude zero.

    More than there are now; None if ``MOST_RUNS`` would not do.
    """
    effect = abs(ours.mean() - others.mean())
    variances = np.array([ours.var(ddof=1), others.var(ddof=1)])
    if not effect or not (np.ptp(ours) or np.ptp(others)):
        return None
    runs = np.arange(max(LEAST_RUNS, min(len(ours), len(others)) + 1), MOST_RUNS + 1)
    freedom = (runs - 1) * variances.sum() ** 2 / (variances**2).sum()
    half = student.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(variances.sum() / runs)
    enough = runs[half < effect]
    return int(enough[0]) if len(enough) else None


def progress(curve: pd.DataFrame) -> tuple[float, float]:
    """Of one run's training.csv: training accuracy in the last fifth of its steps, and its rise.

    The rise is that mean minus the mean of the fifth before. NaN where no puzzle halted.
    """
    steps = curve["step"].to_numpy()
    solved = curve["exact_accuracy"].to_numpy(dtype=float)
    last, before = (
        solved[(steps > begin * steps[-1]) & (steps <= end * steps[-1]) & ~np.isnan(solved)]
        for begin, end in ((0.8, 1.0), (0.6, 0.8))
    )
    means = [float(part.mean()) if len(part) else float("nan") for part in (last, before)]
    return means[0], means[0] - means[1]


class Learning(Record):
    """A group's regime, and by what it was judged: training accuracy and its rise."""

    regime: Regime
    training_accuracy: float | None = None
    rise: float | None = None


def regime(curves: Iterable[pd.DataFrame], train: Train) -> Learning:
    """Whether a group of runs had finished learning.

    Args:
        curves: training.csv of each of its runs.
        train: the ``train`` section they were configured by.
    """
    seen = [progress(curve) for curve in curves]
    if not seen or not np.isfinite(seen).all():
        return Learning(regime="unknown")
    accuracy, rise = np.mean(seen, axis=0).round(6).tolist()
    annealed = train.schedule != "constant" and train.lr_final < 0.5
    settled = accuracy >= SATURATED or (rise <= RISE and not annealed)
    return Learning(
        regime="converged" if settled else "still learning", training_accuracy=accuracy, rise=rise
    )
