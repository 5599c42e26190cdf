"""Maze: a grid of scattered walls, a start, a goal, and the one shortest path between them.

Tokens: 0 pad, then ``# SGo``: 1 wall, 2 free, 3 start, 4 goal, 5 solution path (vocabulary 6).
"""

from typing import Any

import numpy as np

from air.tasks.sampling import dihedral
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
            raise ValueError(
                "a maze must have 1 to 64 cells on a side and 1 to 8 images, "
                f"not {size} and {members}"
            )
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
