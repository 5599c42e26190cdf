"""The protocol of a task, and the data set a task's puzzles are kept in.

A board is one row of ``cells`` tokens (uint8), read line by line. Every method works on batches
``[B, cells]``; none loops over puzzles.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import numpy as np

from air.tasks.sampling import member_words
from air.writing import write_tensors

PAD = 0  # token 0 of every task: never shown, never supervised
SCHEMA = 2
WHOLE: Mapping[str, np.ndarray] = MappingProxyType({})  # a neighbourhood without parts


class Neighbourhood(NamedTuple):
    """Which cells count as near: ``matrix[i, j]`` is True if j is in the neighbourhood of i.

    A contrast of attention masses over it is divided by ``divisor``. ``parts`` are matrices of the
    same form, by name, that together cover it and may overlap: the attention on each is measured
    apart.
    """

    matrix: np.ndarray
    divisor: float
    parts: Mapping[str, np.ndarray] = WHOLE


class Task(Protocol):
    """What probes, training and reports may ask of a task. They never ask which task it is."""

    name: str  #: in params.yaml, commands and paths
    title: str  #: in the report
    vocabulary: tuple[str, ...]  #: the symbol of each token; token 0 is PAD
    csv_symbols: tuple[str, ...]  #: the same in CSV files; "" for a token that does not occur there
    rows: int  #: of a board
    columns: int  #: of a board
    mask_token: int  #: a cell that shows it is in the mask of a freeze
    undecided_token: int  #: a cell that shows it is undecided in a rollout
    neighbourhoods: dict[str, Neighbourhood]  #: of attention; the first one is the claims'
    peers: np.ndarray  #: [cells, cells], j could conflict with i; i itself is not its peer
    violation_reach: np.ndarray  #: [cells, cells], attention of i on j counts as on a violation
    members: int  #: size of a puzzle's augmentation group, the original included

    @property
    def cells(self) -> int:
        """Number of cells of a board, S."""
        ...

    def spec(self) -> dict[str, Any]:
        """What :func:`air.tasks.puzzles.build` needs to make this task again."""
        ...

    def look(self) -> dict[str, Any]:
        """How a board is drawn: ``fills``, a colour or None per token, and ``box``, the rows and
        columns between thick lines or None."""
        ...

    def traits(self, inputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        """What the statistics of a data set tell of its puzzles: whole numbers ``[B]`` by name."""
        ...

    def symmetry_keys(self, boards: np.ndarray) -> np.ndarray:
        """A key per question ``[B]`` that is equal for boards equal up to the task's symmetries."""
        ...

    def query_cells(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cells whose attention is measured: bool ``[B, S]``."""
        ...

    def violations(self, boards: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cells that are wrong by the task's own rule: bool ``[B, S]``."""
        ...

    def augment(
        self, inputs: np.ndarray, labels: np.ndarray, words: np.ndarray, member: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Member ``member[b]`` of each puzzle's group, by its random ``words`` (uint64 ``[B, W]``).

        Member 0 is the puzzle as it is.
        """
        ...

    @property
    def words(self) -> int:
        """How many random words :meth:`augment` takes for one puzzle, W."""
        ...


@dataclass(frozen=True)
class Puzzles:
    """One split of a task's data set: ``inputs`` and ``labels``, uint8 ``[N, S]``."""

    task: Task
    inputs: np.ndarray
    labels: np.ndarray
    seed: int

    def __len__(self) -> int:
        return len(self.inputs)

    def first(self, count: int) -> "Puzzles":
        """The first ``count`` puzzles (all, if there are fewer)."""
        return self.slice(0, count)

    def slice(self, begin: int, end: int) -> "Puzzles":
        """The puzzles from ``begin`` up to ``end``. A puzzle's members go by its place."""
        return Puzzles(self.task, self.inputs[begin:end], self.labels[begin:end], self.seed)

    def draw(self, puzzle: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Member ``member[b]`` of the group of puzzle ``puzzle[b]``; member 0 is the original.

        A pure function of (seed, puzzle, member): the same key gives the same board anywhere.
        """
        words = member_words(self.seed, puzzle, member, self.task.words)
        return self.task.augment(self.inputs[puzzle], self.labels[puzzle], words, member)

    @property
    def sha256(self) -> str:
        """The hash of the boards."""
        digest = hashlib.sha256(np.ascontiguousarray(self.inputs).data)
        digest.update(np.ascontiguousarray(self.labels).data)
        return digest.hexdigest()

    def save(self, path: Path, split: str) -> None:
        """Write them, and in the header all that a reader needs to know of their task."""
        header = {
            "kind": "puzzles",
            "schema": SCHEMA,
            "task": self.task.spec(),
            "split": split,
            "seed": self.seed,
            "sha256": self.sha256,
            "vocabulary": self.task.vocabulary,
            "rows": self.task.rows,
            "columns": self.task.columns,
            "undecided_token": self.task.undecided_token,
            "look": self.task.look(),
        }
        write_tensors(path, {"inputs": self.inputs, "labels": self.labels}, header)
