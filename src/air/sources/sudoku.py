"""Where Sudokus come from: the ``data`` section of the task in params.yaml."""

from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import BaseModel, Field, model_validator

from air.sources.config import Count, Csv, Generated, HuggingFace, Ratings, Source, checked_range
from air.sources.generate import Chunk, Search
from air.tasks.sudoku import BLANK, Sudoku


class _Kind(BaseModel):
    """What a ``data`` section says of the puzzles, wherever they come from."""

    box: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(
        description="rows and columns of a box: [2, 2] is 4 x 4, [2, 3] is 6 x 6, [3, 3] is 9 x 9"
    )
    augmentations: int = Field(1000, gt=0, description="members per group, the original included")

    also: ClassVar[dict[str, str]] = {"0": "."}
    solvable: ClassVar[bool] = True

    @model_validator(mode="after")
    def _box_fits(self) -> "_Kind":
        rows, columns = self.box
        if not (1 <= rows <= columns and 4 <= rows * columns <= 16):
            raise ValueError(
                f"box {self.box} is not allowed: rows <= columns, and 4 to 16 cells, such as [2, 3]"
            )
        return self

    def task(self) -> Sudoku:
        return Sudoku(self.box[0], self.box[1], self.augmentations)

    def faults(self, inputs: np.ndarray, labels: np.ndarray) -> list[str]:
        """The answer must be full, free of conflicts and keep the givens."""
        task = self.task()
        count, n = len(inputs), task.rows
        found = np.full(count, "", dtype=object)
        digit = np.uint32(1) << labels.astype(np.uint32)
        every = (1 << (n + 2)) - 4
        wrong = np.zeros(count, dtype=bool)
        for label in (task.row, task.column, task.box):
            grouped = digit[:, np.argsort(label, kind="stable")].reshape(count, n, n)
            wrong |= (np.bitwise_or.reduce(grouped, axis=2) != every).any(axis=1)
        changed = ((inputs != BLANK) & (inputs != labels)).any(axis=1)
        found[changed] = "the answer changes a given of the question"
        found[wrong] = "the answer is no solution: a row, column or box lacks a digit"
        found[(labels == BLANK).any(axis=1)] = "the answer has blank cells"
        return found.tolist()

    def solve(self, inputs: np.ndarray) -> tuple[np.ndarray, list[str]]:
        """A question must have one solution."""
        from air.sources.search import solve  # late: loads the compiler, if it is there

        task = self.task()
        unit = _units(task)
        allowed = np.full(task.cells, (1 << task.rows) - 1, dtype=np.int64)
        in_order = np.zeros(1, dtype=np.uint64)  # no random guesses
        givens = (inputs - BLANK).astype(np.int8)
        solutions = np.zeros_like(givens)
        found = [
            solve(unit, task.rows, givens[row], allowed, 2, in_order, solutions[row])[0]
            for row in range(len(inputs))
        ]
        wrong = ("the question has no solution", "", "the question has several solutions")
        return (solutions + BLANK).astype(np.uint8), [wrong[number] for number in found]


def _units(task: Sudoku) -> np.ndarray:
    """Row, column and box of each cell, as the solver takes them: int64 ``[3, S]``."""
    return np.stack([task.row, task.column, task.box]).astype(np.int64)


class SudokuGenerated(_Kind, Generated):
    """Puzzles with one solution, dug from random grids."""

    clues: Count | Literal["minimal"] = Field(
        description="given cells per puzzle; minimal: none can be spared"
    )
    rating: Ratings = Field(
        [0, None], description="least and greatest number of the solver's dead ends; null: no limit"
    )

    @model_validator(mode="after")
    def _clues_fit(self) -> "SudokuGenerated":
        cells = (self.box[0] * self.box[1]) ** 2
        if self.clues != "minimal" and self.clues >= cells:
            raise ValueError(f"clues must be below the board's {cells} cells")
        checked_range("rating", self.rating)
        return self

    def search(self) -> Search:
        import numba  # noqa: F401  # late: only generation needs the compiler

        from air.sources.search import sudoku_attempt

        task = self.task()
        unit = _units(task)
        clues = 0 if self.clues == "minimal" else self.clues
        least, greatest = checked_range("rating", self.rating)
        at_most = np.iinfo(np.int64).max if greatest is None else greatest

        def attempts(first: int, number: int) -> Chunk:
            boards = np.empty((2, number, task.cells), dtype=np.int8)
            ratings = np.array(
                [
                    sudoku_attempt(
                        unit, task.rows, clues, least, at_most, self.seed, first + j, *boards[:, j]
                    )
                    for j in range(number)
                ]
            )
            good = np.flatnonzero(ratings >= 0)
            inputs, labels = (boards[:, good] + 1).astype(np.uint8)
            return Chunk(inputs, labels, ratings[good], first + good)

        kind = f"{self.clues} clues" if clues else "no clue to spare"
        ease = "another number of clues"
        if self.rating != [0, None]:
            kind += f" and a rating in {least} to {'any' if greatest is None else greatest}"
            ease += " or another rating"
        chunk = 16 if task.rows <= 9 else 1
        return Search(attempts, chunk, 20_000, kind, ease)


class SudokuCsv(_Kind, Csv):
    """Sudokus from two CSV files."""


class SudokuHuggingFace(_Kind, HuggingFace):
    """Sudokus from a data set on Hugging Face."""


SudokuData = Annotated[SudokuGenerated | SudokuCsv | SudokuHuggingFace, Source]
