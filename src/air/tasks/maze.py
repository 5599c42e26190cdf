"""Maze: a grid of scattered walls, a start, a goal, and the one shortest path between them.

Tokens: 0 pad, then ``# SGo``: 1 wall, 2 free, 3 start, 4 goal, 5 solution path (vocabulary 6).
"""

from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, Field

from air.tasks.config import Csv, Generated, HuggingFace, Source
from air.tasks.generate import Chunk, Search
from air.tasks.task import PAD, Neighbourhood

WALL, FREE, START, GOAL, PATH = range(1, 6)


class Maze:
    """The task object (:class:`air.tasks.task.Task`) of one board size."""

    name = "maze"
    title = "Maze"
    vocabulary: tuple[str, ...] = ("?", "#", " ", "S", "G", "o")
    csv_symbols: tuple[str, ...] = ("", *vocabulary[1:])
    mask_token = PATH
    undecided_token = PAD

    def __init__(self, size: int, members: int = 1) -> None:
        if not (1 <= size <= 64 and 1 <= members <= 8):
            raise ValueError(f"no maze has {size} cells on a side and {members} images")
        self.rows = self.columns = size
        self.members = members
        row, column = np.divmod(np.arange(size * size), size)
        down = np.abs(row[:, None] - row[None, :])
        across = np.abs(column[:, None] - column[None, :])
        steps, furthest = down + across, np.maximum(down, across)
        self.peers = steps == 1
        self.neighbourhoods = {
            "nbr4": Neighbourhood(self.peers, 4.0),
            "nbr8": Neighbourhood(furthest == 1, 8.0),
            "win5": Neighbourhood((furthest <= 2) & (steps > 0), 24.0),
        }
        self.violation_reach = self.peers

    @property
    def cells(self) -> int:
        return self.rows * self.columns

    def spec(self) -> dict[str, Any]:
        return {"name": self.name, "size": self.rows, "members": self.members}

    def look(self) -> dict[str, Any]:
        return {"fills": [None, "#333333", None, "#56B4E9", "#009E73", "#F0E442"], "box": None}

    def traits(self, inputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        path = (labels == PATH).sum(axis=1) + 2
        return {"path cells": path, "walls": (inputs == WALL).sum(axis=1)}

    def query_cells(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cells on the solution path, start and goal excluded."""
        return labels == PATH

    def violations(self, boards: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cells whose token differs from the label."""
        return np.asarray(boards != labels)

    def faults(self, inputs: np.ndarray, labels: np.ndarray) -> list[str]:
        """The marked path must be a shortest one, and nothing else changed."""
        from air.tasks.search import walk  # late: needs the compiler

        found = np.full(len(inputs), "", dtype=object)
        steps, ways, queue = (np.empty(self.cells, dtype=np.int64) for _ in range(3))
        length = (labels == PATH).sum(axis=1) + 1
        for row in range(len(inputs)):
            if not (inputs[row] == START).sum() == (inputs[row] == GOAL).sum() == 1:
                continue
            start, goal = (int(np.argmax(inputs[row] == token)) for token in (START, GOAL))
            on_path = labels[row] == PATH
            on_path[[start, goal]] = True
            walk(on_path, self.rows, start, steps, ways, queue)
            if steps[goal] != length[row]:
                found[row] = "the path in the answer does not lead from start to goal"
                continue
            walk(inputs[row] != WALL, self.rows, start, steps, ways, queue)
            if steps[goal] != length[row]:
                found[row] = (
                    f"the path in the answer is not a shortest one: {length[row] + 1} cells, "
                    f"not {steps[goal] + 1}"
                )
        changed = inputs != labels
        moved = (changed & ((inputs != FREE) | (labels != PATH))).any(axis=1)
        found[moved] = "the answer changes more than free cells into path cells"
        found[(inputs == PATH).any(axis=1)] = "the question has path cells"
        for token, name in ((START, "start"), (GOAL, "goal")):
            number = (inputs == token).sum(axis=1)
            found[number != 1] = f"the question must have one {name} cell"
        return found.tolist()

    @property
    def words(self) -> int:
        return 0  # its members follow from their number

    def augment(
        self, inputs: np.ndarray, labels: np.ndarray, words: np.ndarray, member: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Member k is dihedral image k; the paper uses the first alone (``members`` 1)."""
        source = dihedral(self.rows)[member]
        return np.take_along_axis(inputs, source, 1), np.take_along_axis(labels, source, 1)

    def symmetry_keys(self, boards: np.ndarray) -> np.ndarray:
        """The least of each board's eight dihedral images, as bytes: equal for equal mazes."""
        images = np.ascontiguousarray(boards[:, dihedral(self.rows)])
        return np.sort(images.view(f"S{self.cells}")[:, :, 0], axis=1)[:, 0]


def dihedral(size: int) -> np.ndarray:
    """The eight symmetries of a square: ``board[dihedral(n)[g]]`` is image g; image 0 is itself."""
    grid = np.arange(size * size).reshape(size, size)
    turns = [np.rot90(flipped, turn) for flipped in (grid, grid.T) for turn in range(4)]
    return np.stack([turned.reshape(-1) for turned in turns])


class _Kind(BaseModel):
    """What a ``data`` section says of the mazes, wherever they come from."""

    size: int = Field(ge=3, le=64, description="cells on a side")
    augmentations: int = Field(
        1, ge=1, le=8, description="members per group: 1 (the paper) to 8 (all dihedral images)"
    )

    def task(self) -> Maze:
        return Maze(self.size, members=self.augmentations)


class MazeGenerated(_Kind, Generated):
    """Mazes with one shortest path."""

    walls: float = Field(gt=0, lt=1, description="share of cells drawn as walls")
    min_path: int = Field(
        ge=3, le=4096, description="cells on the shortest path, start and goal included, at least"
    )

    def search(self) -> Search:
        from air.tasks.search import maze_attempt  # late: only generation needs the compiler

        cells = self.size**2

        def attempts(first: int, number: int) -> Chunk:
            free, path = np.empty((2, cells), dtype=np.bool_)
            questions, answers, numbers = [], [], []
            for attempt in range(first, first + number):
                start, goal = maze_attempt(
                    self.size, self.walls, self.min_path, self.seed, attempt, free, path
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
                np.array(boards, dtype=np.uint8).reshape(-1, cells)
                for boards in (questions, answers)
            )
            return Chunk(inputs, labels, None, np.array(numbers, dtype=np.int64))

        kind = f"a path of {self.min_path} cells"
        return Search(attempts, 2000, 500_000, kind, "a shorter path or another share of walls")


class MazeCsv(_Kind, Csv):
    """Mazes from two CSV files."""


class MazeHuggingFace(_Kind, HuggingFace):
    """Mazes from a data set on Hugging Face."""


MazeData = Annotated[MazeGenerated | MazeCsv | MazeHuggingFace, Source]
