"""Means with their uncertainty, where puzzles are the independent samples."""

import warnings
from typing import Any

import numpy as np

from air.results.record import Curve
from air.tasks.sampling import generator

RESAMPLES = 1000
LEAST_PUZZLES = 5  # fewer are too few to resample: the interval would be much too narrow


def rounded(values: Any) -> Any:
    """Six significant digits, NaN as None: what a metric file holds (scalars or nested lists)."""
    if isinstance(values, np.ndarray):
        values = values.tolist()
    if isinstance(values, list):
        return [rounded(value) for value in values]
    return float(f"{values:.6g}") if np.isfinite(values) else None


def mean_se(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard error over the first axis (puzzles) of ``[N, ...]``: ``[...]`` both.

    The standard error of one puzzle is NaN, and so is the mean of none.
    """
    count = len(values)
    if not count:
        return np.full(values.shape[1:], np.nan), np.full(values.shape[1:], np.nan)
    se = values.std(axis=0, ddof=1) / count**0.5 if count > 1 else np.full(values.shape[1:], np.nan)
    return values.mean(axis=0), se


def mean(values: np.ndarray) -> float | None:
    """The mean over puzzles of ``[N]``, as a metric file holds it: None of none."""
    return rounded(values.mean() if len(values) else np.nan)


def curve(values: np.ndarray) -> Curve:
    """Mean and standard error over puzzles, at each place of ``[N, places]``."""
    mean, se = mean_se(values)
    return Curve(mean=rounded(mean), se=rounded(se))


def interval(values: np.ndarray) -> Any:
    """95 % interval of the mean over puzzles of ``[N]``, as a metric file holds it.

    Its ends are None for fewer puzzles than ``LEAST_PUZZLES``.
    """
    return rounded(bootstrap(values, np.ones_like(values)))


def bootstrap(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """95 % interval of sum / count by bootstrap over whole puzzles: ``[2, ...]``.

    NaN where fewer puzzles than ``LEAST_PUZZLES`` have something to count.

    Args:
        sums, counts: per puzzle, ``[N, ...]``; a resampled puzzle brings everything it holds.
    """
    puzzles = len(sums)
    too_few = (counts > 0).sum(axis=0) < LEAST_PUZZLES
    if too_few.all():
        return np.full((2, *sums.shape[1:]), np.nan)
    random = generator(0, "bootstrap", 0)
    weights = random.multinomial(puzzles, np.full(puzzles, 1 / puzzles), size=RESAMPLES)
    flat = weights @ sums.reshape(puzzles, -1), weights @ counts.reshape(puzzles, -1)
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # nothing counted at all: NaN it stays
        ends = np.nanpercentile(flat[0] / flat[1], [2.5, 97.5], axis=0)
    return np.where(too_few, np.nan, ends.reshape(2, *sums.shape[1:]))
