"""Making a task's data set from whatever source is configured, and its statistics."""

from typing import Any

import numpy as np

from air.results.statistics import Bars, Examples, Files, Split, Splits, Statistics, Trait
from air.sources.config import Csv, Data, Generated, HuggingFace
from air.sources.generate import generate
from air.sources.imports import import_splits, resolved
from air.tasks.task import Puzzles, Task

EXAMPLES = 4  # training puzzles that the statistics show in full
MOST_BARS = 40  # of a histogram


def make(config: Data, workers: int = 1) -> tuple[Puzzles, Puzzles, Statistics]:
    """Training puzzles, test puzzles and the contents of ``statistics.json``.

    Raises:
        UserError: the source has fewer puzzles than are configured, or none of the kind.
    """
    if isinstance(config, HuggingFace):
        config = resolved(config)  # once, so that both files are of one commit
    task = config.task()
    known: dict[str, Any] = {"source": config.source}
    ratings: tuple[np.ndarray | None, np.ndarray | None] = (None, None)
    if isinstance(config, Generated):
        found = generate(task, config.search(), config.train + config.test, workers)
        known["attempts"] = found.attempts
        cut = config.train
        train = Puzzles(task, found.inputs[:cut], found.labels[:cut], config.seed)
        test = Puzzles(task, found.inputs[cut:], found.labels[cut:], config.seed)
        if found.ratings is not None:
            ratings = (found.ratings[:cut], found.ratings[cut:])
    else:
        assert isinstance(config, Csv | HuggingFace)
        train_split, test_split = import_splits(config)
        known["files"] = Files(train=train_split.facts, test=test_split.facts)
        if isinstance(config, HuggingFace):
            known |= {"repo": config.repo, "revision": config.revision}
        train = Puzzles(task, train_split.inputs, train_split.labels, config.seed)
        test = Puzzles(task, test_split.inputs, test_split.labels, config.seed)
        if train_split.ratings is not None and test_split.ratings is not None:
            ratings = (train_split.ratings, test_split.ratings)
    return train, test, Statistics(**known, **describe(task, train, test, ratings, config.seed))


def describe(
    task: Task,
    train: Puzzles,
    test: Puzzles,
    ratings: tuple[np.ndarray | None, np.ndarray | None],
    seed: int,
) -> dict[str, Any]:
    """Sizes, histograms, hashes, examples, and how many puzzles the splits share up to symmetry."""
    train_keys, test_keys = _keys(task, train.inputs), _keys(task, test.inputs)
    return {
        "board": f"{task.rows} x {task.columns}",
        "members_per_group": task.members,
        "seed": seed,
        "test_puzzles_in_train_up_to_symmetry": int(np.isin(test_keys, train_keys).sum()),
        "splits": Splits(
            train=_split(task, train, train_keys, ratings[0]),
            test=_split(task, test, test_keys, ratings[1]),
        ),
        "examples": Examples(
            inputs=train.inputs[:EXAMPLES].tolist(), labels=train.labels[:EXAMPLES].tolist()
        ),
    }


def _keys(task: Task, inputs: np.ndarray) -> np.ndarray:
    """Symmetry keys, in blocks: a whole data set at once would take gigabytes."""
    blocks = range(0, len(inputs), 5000)
    return np.concatenate([task.symmetry_keys(inputs[start : start + 5000]) for start in blocks])


def _split(task: Task, puzzles: Puzzles, keys: np.ndarray, ratings: np.ndarray | None) -> Split:
    traits = task.traits(puzzles.inputs, puzzles.labels)
    if ratings is not None:
        traits["rating"] = ratings
    return Split(
        puzzles=len(puzzles),
        sha256=puzzles.sha256,
        repeated_up_to_symmetry=len(keys) - len(np.unique(keys)),
        traits={name: _trait(values) for name, values in traits.items()},
    )


def _trait(values: np.ndarray) -> Trait:
    """Whole numbers ``[N]``: mean, least, greatest, and a histogram of ``MOST_BARS`` at most."""
    low, high = int(values.min()), int(values.max())
    width = -(-(high - low + 1) // MOST_BARS)
    counts = np.bincount((values - low) // width)
    return Trait(
        mean=round(float(values.mean()), 3),
        min=low,
        max=high,
        bars=Bars(start=low, width=width, counts=counts.tolist()),
    )
