"""Generating puzzles: attempts in order, kept if they are new and of the configured kind.

Attempts are functions of (seed, attempt) and are taken in their order, so the data set does not
depend on the number of threads.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count
from typing import NamedTuple

import numpy as np

from air.files import UserError
from air.progress import Progress
from air.tasks.task import Task


class Chunk(NamedTuple):
    """What some attempts in a row gave: ``attempt[j]`` is the number of the one that gave j.

    Boards are uint8 ``[N, S]``; ratings int64 ``[N]``, or None for a task without.
    """

    inputs: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray | None
    attempt: np.ndarray


class Search(NamedTuple):
    """How a task finds puzzles."""

    attempts: Callable[[int, int], Chunk]
    """``attempts(first, number)`` makes the attempts from ``first`` on; many threads may call it"""
    chunk: int  # attempts in one call
    patience: int  # so many attempts in a row without a new puzzle: there are no more
    kind: str  # the configured kind, such as "12 clues"
    ease: str  # what is easier to find, such as "more clues"


class Found(NamedTuple):
    """Puzzles: boards uint8 ``[N, S]``, ratings int64 ``[N]`` or None, attempts until the last."""

    inputs: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray | None
    attempts: int


def generate(task: Task, search: Search, wanted: int, workers: int) -> Found:
    """``wanted`` puzzles, no two of them equal up to symmetry, found by ``workers`` threads.

    Raises:
        UserError: so many puzzles of that kind do not exist, or are too rare to be found.
    """
    inputs = np.empty((wanted, task.cells), dtype=np.uint8)
    labels, ratings = np.empty_like(inputs), np.empty(wanted, dtype=np.int64)
    rated = False
    seen: set[bytes | int] = set()
    last = 0  # the attempt that gave the last new puzzle
    with Progress(f"data {task.name}", wanted, "puzzles", compiles=True) as progress:
        for first, found in _in_order(search.attempts, search.chunk, workers):
            before = len(seen)
            rated = found.ratings is not None
            keys = task.symmetry_keys(found.inputs).tolist() if len(found.inputs) else []
            for j, key in enumerate(keys):
                if key in seen:
                    continue
                place = len(seen)
                inputs[place], labels[place] = found.inputs[j], found.labels[j]
                if found.ratings is not None:
                    ratings[place] = found.ratings[j]
                last = int(found.attempt[j])
                seen.add(key)
                if len(seen) == wanted:
                    break
            progress.advance(len(seen) - before)
            if len(seen) == wanted:
                return Found(inputs, labels, ratings if rated else None, last + 1)
            if first + search.chunk - last > search.patience:
                break
    raise UserError(
        f"{task.name}.data: only {len(seen)} of {wanted} essentially different puzzles with "
        f"{search.kind} were found; ask for fewer puzzles or for {search.ease}"
    )


def _in_order(
    attempts: Callable[[int, int], Chunk], chunk: int, workers: int
) -> Iterator[tuple[int, Chunk]]:
    """(first attempt, what the chunk gave), in order, computed by ``workers`` threads ahead."""
    with ThreadPoolExecutor(workers) as pool:
        starts = count(step=chunk)
        ahead: list[tuple[int, Future[Chunk]]] = []
        try:
            while True:
                while len(ahead) < 2 * workers:
                    first = next(starts)
                    ahead.append((first, pool.submit(attempts, first, chunk)))
                first, future = ahead.pop(0)
                yield first, future.result()
        finally:  # also when the reader has enough, or was interrupted
            for _, future in ahead:
                future.cancel()
