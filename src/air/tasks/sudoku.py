"""Sudoku of any box shape: n = box rows x box columns symbols on an n x n board.

Tokens: 0 pad, 1 blank, digit k is k + 1 (vocabulary n + 2; 11 for the paper's 9 x 9).
"""

from typing import Any

import numpy as np

from air.tasks.sampling import mix
from air.tasks.task import Neighbourhood

BLANK = 1


class Sudoku:
    """The task object (:class:`air.tasks.task.Task`) of one box shape."""

    name = "sudoku"
    title = "Sudoku"
    mask_token = BLANK
    undecided_token = BLANK

    def __init__(self, box_rows: int, box_columns: int, members: int = 1000) -> None:
        if not (1 <= box_rows <= box_columns and box_rows * box_columns <= 16 and members > 0):
            raise ValueError(
                "a Sudoku's boxes must have 1 to 16 cells and no more rows than columns, and its "
                f"groups at least 1 member, not {box_rows} x {box_columns} and {members}"
            )
        self.box_rows, self.box_columns, self.members = box_rows, box_columns, members
        n = self.rows = self.columns = box_rows * box_columns
        digits = [_symbol(digit) for digit in range(1, n + 1)]
        self.vocabulary = ("?", " ", *digits)
        self.csv_symbols = ("", ".", *digits)
        row, column = np.divmod(np.arange(n * n), n)
        # the box above to the left of a cell counts n // box_columns = box_rows boxes per band
        box = row // box_rows * box_rows + column // box_columns
        self.row, self.column, self.box = row, column, box
        units = {"row": _same(row), "column": _same(column), "box": _same(box)}
        near = units["row"] | units["column"] | units["box"]
        self.neighbourhoods = {"nbr": Neighbourhood(near, 1.0, units)}
        self.peers = near & ~np.eye(n * n, dtype=bool)
        self.violation_reach = np.ones((n * n, n * n), dtype=bool)

    @property
    def cells(self) -> int:
        return self.rows * self.columns

    def spec(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "box_rows": self.box_rows,
            "box_columns": self.box_columns,
            "members": self.members,
        }

    def look(self) -> dict[str, Any]:
        return {"fills": [None] * len(self.vocabulary), "box": [self.box_rows, self.box_columns]}

    def traits(self, inputs: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
        return {"clues": (inputs > BLANK).sum(axis=1)}

    def query_cells(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Blank cells of the input."""
        return inputs == BLANK

    def violations(self, boards: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cells that share their digit with a peer: all parties of every conflict."""
        digits = boards[:, :, None] == np.arange(BLANK + 1, len(self.vocabulary))
        # float32 for the sake of a BLAS product; the counts are small integers and exact
        peers_with = self.peers.astype(np.float32) @ digits.astype(np.float32)
        return np.asarray((digits & (peers_with > 0)).any(axis=2))

    @property
    def words(self) -> int:
        bands = self.rows // self.box_rows
        stacks = self.columns // self.box_columns
        return self.rows + bands + self.rows + stacks + self.columns + 1

    def augment(
        self, inputs: np.ndarray, labels: np.ndarray, words: np.ndarray, member: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Relabel the digits; permute bands, rows in bands, stacks, columns in stacks; transpose.

        The transpose (probability 1/2) is left out where boxes are not square: it would not map
        boxes on boxes.
        """
        n, batch = self.rows, len(inputs)
        bands, stacks = n // self.box_rows, n // self.box_columns
        digit_words, band_words, row_words, stack_words, column_words, transpose_words = np.split(
            words, np.cumsum([n, bands, n, stacks, n]), axis=1
        )
        rows = _nested_order(band_words, row_words)
        columns = _nested_order(stack_words, column_words)
        source = rows[:, :, None] * n + columns[:, None, :]
        if self.box_rows == self.box_columns:
            transpose = (transpose_words & np.uint64(1)).astype(bool)[:, :, None]
            source = np.where(transpose, source.transpose(0, 2, 1), source)
        source = source.reshape(batch, n * n)
        tokens = np.empty((batch, n + 2), dtype=np.uint8)
        tokens[:, :2] = 0, BLANK
        tokens[:, 2:] = np.argsort(digit_words, axis=1) + 2
        original = member == 0
        source[original] = np.arange(n * n)
        tokens[original] = np.arange(n + 2)

        def move(boards: np.ndarray) -> np.ndarray:
            moved = np.take_along_axis(boards, source, axis=1)
            return np.take_along_axis(tokens, moved.astype(np.intp), axis=1)

        return move(inputs), move(labels)

    def symmetry_keys(self, boards: np.ndarray) -> np.ndarray:
        """A key per board, uint64 ``[B]``, that is equal for boards equal up to symmetry.

        Colour refinement (Weisfeiler and Leman 1968) of the structure of cells, rows, columns,
        boxes, bands, stacks and digits: boards with different keys cannot be mapped on one another
        by relabelling, permuting bands, rows, stacks or columns, or transposing. Boards with equal
        keys may still differ, so rejecting equal keys is on the safe side.
        """
        n, batch = self.rows, len(boards)
        given = boards > BLANK
        cell = given.astype(np.uint64)
        square = self.box_rows == self.box_columns
        tags = np.arange(1, 7, dtype=np.uint64) * np.uint64(0xD1B54A32D192ED03)
        row_tag, column_tag, box_tag, digit_tag, band_tag, stack_tag = mix(tags)
        if square:  # a transpose swaps rows with columns: they must look alike
            column_tag, stack_tag = row_tag, band_tag
        for _ in range(6):
            scattered = mix(cell)
            by_row = _sum_by(scattered, self.row, n)
            by_column = _sum_by(scattered, self.column, n)
            by_box = _sum_by(scattered, self.box, n)
            by_band = mix(by_row).reshape(batch, -1, self.box_rows).sum(axis=2)
            by_stack = mix(by_column).reshape(batch, -1, self.box_columns).sum(axis=2)
            by_digit = np.zeros((batch, n + 2), dtype=np.uint64)
            for token in range(BLANK + 1, n + 2):
                by_digit[:, token] = np.where(boards == token, scattered, 0).sum(axis=1)
            around = mix(by_row + row_tag)[:, self.row]
            around = around + mix(by_column + column_tag)[:, self.column]
            around = around + mix(by_box + box_tag)[:, self.box]
            around = around + mix(by_band + band_tag)[:, self.row // self.box_rows]
            around = around + mix(by_stack + stack_tag)[:, self.column // self.box_columns]
            digit = mix(np.take_along_axis(by_digit, boards.astype(np.intp), axis=1) + digit_tag)
            cell = mix(scattered + around + np.where(given, digit, 0))
        return np.asarray(mix(cell).sum(axis=1))


def _symbol(digit: int) -> str:
    return str(digit) if digit < 10 else chr(ord("A") + digit - 10)


def _same(label: np.ndarray) -> np.ndarray:
    return np.asarray(label[:, None] == label[None, :])


def _sum_by(values: np.ndarray, label: np.ndarray, groups: int) -> np.ndarray:
    """Sum ``values`` [B, S] over the cells of each group: uint64 [B, groups]."""
    order = np.argsort(label, kind="stable")
    return np.asarray(values[:, order].reshape(len(values), groups, -1).sum(axis=2))


def _nested_order(outer_words: np.ndarray, inner_words: np.ndarray) -> np.ndarray:
    """A random order of lines that keeps blocks together: blocks shuffled, lines in blocks too."""
    batch, blocks = outer_words.shape
    size = inner_words.shape[1] // blocks
    outer = np.argsort(outer_words, axis=1)
    inner = np.argsort(inner_words.reshape(batch, blocks, size), axis=2)
    return (outer[:, :, None] * size + inner).reshape(batch, blocks * size)
