"""Generating puzzles: attempts in order, kept if they are what was asked for and new.

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
from air.tasks.config import MazeGenerated, SudokuGenerated
from air.tasks.maze import FREE, GOAL, PATH, START, WALL, Maze
from air.tasks.sudoku import Sudoku
from air.tasks.task import Task


class Found(NamedTuple):
    """Puzzles: boards uint8 ``[N, S]``, ratings int64 ``[N]`` or None, attempts until the last."""

    inputs: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray | None
    attempts: int


class Chunk(NamedTuple):
    """What some attempts in a row gave: ``attempt[j]`` is the number of the one that gave j."""

    inputs: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray
    attempt: np.ndarray


def generate_sudokus(task: Sudoku, config: SudokuGenerated, workers: int) -> Found:
    """Puzzles with one solution, no two equal up to symmetry.

    Raises:
        UserError: so many puzzles of that kind do not exist, or are too rare to be found.
    """
    from air.tasks.search import sudoku_attempt  # late: only generation needs the compiler

    unit = np.stack([task.row, task.column, task.box]).astype(np.int64)
    clues = 0 if config.clues == "minimal" else config.clues
    least, greatest = config.rating[0] or 0, config.rating[1]
    at_most = np.iinfo(np.int64).max if greatest is None else greatest

    def attempts(first: int, number: int) -> Chunk:
        boards = np.empty((2, number, task.cells), dtype=np.int8)
        ratings = np.array(
            [
                sudoku_attempt(
                    unit, task.rows, clues, least, at_most, config.seed, first + j, *boards[:, j]
                )
                for j in range(number)
            ]
        )
        good = np.flatnonzero(ratings >= 0)
        inputs, labels = (boards[:, good] + 1).astype(np.uint8)
        return Chunk(inputs, labels, ratings[good], first + good)

    kind = f"{config.clues} clues" if clues else "no clue to spare"
    if config.rating != [0, None]:
        kind += f" and a rating in {least} to {'any' if greatest is None else greatest}"
    found = _collect(
        task, config.train + config.test, attempts, 16 if task.rows <= 9 else 1, 20_000, workers
    )
    if isinstance(found, int):
        raise UserError(
            f"sudoku.data: only {found} of {config.train + config.test} essentially different "
            f"puzzles with {kind} were found; ask for fewer puzzles, more clues or another rating"
        )
    return found


def generate_mazes(task: Maze, config: MazeGenerated, workers: int) -> Found:
    """Mazes with one shortest path, no two equal up to symmetry.

    Raises:
        UserError: so many mazes with so long a path do not exist, or are too rare to be found.
    """
    from air.tasks.search import maze_attempt

    def attempts(first: int, number: int) -> Chunk:
        free, path = np.empty((2, task.cells), dtype=np.bool_)
        questions, answers, numbers = [], [], []
        for attempt in range(first, first + number):
            start, goal = maze_attempt(
                config.size, config.walls, config.min_path, config.seed, attempt, free, path
            )
            if start >= 0:
                question = np.where(free, FREE, WALL).astype(np.uint8)
                answer = np.where(path, PATH, question).astype(np.uint8)
                for board in (question, answer):
                    board[start], board[goal] = START, GOAL
                questions.append(question)
                answers.append(answer)
                numbers.append(attempt)
        inputs, labels = (
            np.array(boards, dtype=np.uint8).reshape(-1, task.cells)
            for boards in (questions, answers)
        )
        attempt_of = np.array(numbers, dtype=np.int64)
        return Chunk(inputs, labels, np.zeros_like(attempt_of), attempt_of)

    found = _collect(task, config.train + config.test, attempts, 2000, 500_000, workers)
    if isinstance(found, int):
        raise UserError(
            f"maze.data: only {found} of {config.train + config.test} essentially different mazes "
            f"with a path of {config.min_path} cells were found; ask for fewer mazes, a shorter "
            "path or another share of walls"
        )
    return found._replace(ratings=None)


def _collect(
    task: Task,
    wanted: int,
    attempts: Callable[[int, int], Chunk],
    chunk: int,
    patience: int,
    workers: int,
) -> Found | int:
    """Puzzles from attempts 0, 1, 2, ... without two that are equal up to symmetry.

    How many there are, if ``patience`` attempts in a row give no new one.
    """
    inputs = np.empty((wanted, task.cells), dtype=np.uint8)
    labels, ratings = np.empty_like(inputs), np.empty(wanted, dtype=np.int64)
    seen: set[bytes | int] = set()
    last = 0  # the attempt that gave the last new puzzle
    with Progress(f"data {task.name}", wanted, "puzzles") as progress:
        for first, found in _in_order(attempts, chunk, workers):
            before = len(seen)
            keys = task.symmetry_keys(found.inputs).tolist() if len(found.inputs) else []
            for j, key in enumerate(keys):
                if key in seen:
                    continue
                place = len(seen)
                inputs[place], labels[place] = found.inputs[j], found.labels[j]
                ratings[place], last = found.ratings[j], int(found.attempt[j])
                seen.add(key)
                if len(seen) == wanted:
                    break
            progress.advance(len(seen) - before)
            if len(seen) == wanted:
                return Found(inputs, labels, ratings, last + 1)
            if first + chunk - last > patience:
                return len(seen)
    raise AssertionError("attempts never end")


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
