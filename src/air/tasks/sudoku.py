"""Sudoku of any box shape: n = box rows x box columns symbols on an n x n board.

Tokens: 0 pad, 1 blank, digit k is k + 1 (vocabulary n + 2; 11 for the paper's 9 x 9).
"""

from itertools import count
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from air.files import UserError
from air.progress import Progress
from air.tasks.sampling import generator, mix
from air.tasks.task import Neighbourhood, Puzzles

BLANK = 1
PATIENCE = 200  # attempts in a row without a new puzzle before generation gives up


class SudokuData(BaseModel):
    """The ``sudoku.data`` section of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: Literal["generate"] = Field("generate", description="where the puzzles come from")
    box: Annotated[list[int], Field(min_length=2, max_length=2)] = Field(
        description="rows and columns of a box: [2, 2] is 4 x 4, [2, 3] is 6 x 6, [3, 3] is 9 x 9"
    )
    clues: int = Field(gt=0, description="given cells per puzzle")
    train: int = Field(gt=0, description="training puzzles (groups)")
    test: int = Field(gt=0, description="test puzzles")
    augmentations: int = Field(1000, gt=0, description="members per group, the original included")
    seed: int = Field(0, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> "SudokuData":
        rows, columns = self.box
        if not (1 <= rows <= columns and 4 <= rows * columns <= 16):
            raise ValueError(
                f"box {self.box} is not allowed: rows <= columns, and 4 to 16 cells, such as [2, 3]"
            )
        if self.clues >= (rows * columns) ** 2:
            raise ValueError(f"clues must be below the board's {(rows * columns) ** 2} cells")
        return self


class Sudoku:
    """The task object (:class:`air.tasks.task.Task`) of one box shape."""

    name = "sudoku"
    title = "Sudoku"
    mask_token = BLANK
    undecided_token = BLANK

    def __init__(self, box_rows: int, box_columns: int, members: int = 1000) -> None:
        self.box_rows, self.box_columns, self.members = box_rows, box_columns, members
        n = self.rows = self.columns = box_rows * box_columns
        self.vocabulary = ("?", " ", *(_symbol(digit) for digit in range(1, n + 1)))
        row, column = np.divmod(np.arange(n * n), n)
        # the box above to the left of a cell counts n // box_columns = box_rows boxes per band
        box = row // box_rows * box_rows + column // box_columns
        self._row, self._column, self._box = row, column, box
        near = _same(row) | _same(column) | _same(box)
        self.neighbourhoods = {"nbr": Neighbourhood(near, 1.0)}
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
        self, inputs: np.ndarray, labels: np.ndarray, words: np.ndarray, original: np.ndarray
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
            by_row = _sum_by(scattered, self._row, n)
            by_column = _sum_by(scattered, self._column, n)
            by_box = _sum_by(scattered, self._box, n)
            by_band = mix(by_row).reshape(batch, -1, self.box_rows).sum(axis=2)
            by_stack = mix(by_column).reshape(batch, -1, self.box_columns).sum(axis=2)
            by_digit = np.zeros((batch, n + 2), dtype=np.uint64)
            for token in range(BLANK + 1, n + 2):
                by_digit[:, token] = np.where(boards == token, scattered, 0).sum(axis=1)
            around = mix(by_row + row_tag)[:, self._row]
            around = around + mix(by_column + column_tag)[:, self._column]
            around = around + mix(by_box + box_tag)[:, self._box]
            around = around + mix(by_band + band_tag)[:, self._row // self.box_rows]
            around = around + mix(by_stack + stack_tag)[:, self._column // self.box_columns]
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


class Solver:
    """Backtracking over the cell with the fewest candidates (as bit masks), for one box shape."""

    def __init__(self, task: Sudoku) -> None:
        self.n = task.rows
        self.units = list(
            zip(*(label.tolist() for label in (task._row, task._column, task._box)), strict=True)
        )
        self.full = (1 << self.n) - 1
        self.wrong_turns = 0  # of the last call: the rating of a puzzle

    def solutions(
        self, digits: list[int], limit: int, tries: list[list[int]] | None = None
    ) -> list[list[int]]:
        """Up to ``limit`` completions of ``digits`` (0 blank, 1 to n), as lists.

        ``tries`` is the order in which each cell's digits are tried: at random, for a random grid.
        """
        n, units, full = self.n, self.units, self.full
        rows, columns, boxes = [0] * n, [0] * n, [0] * n
        board = list(digits)
        blanks = []
        for cell, digit in enumerate(board):
            r, c, b = units[cell]
            if not digit:
                blanks.append(cell)
                continue
            bit = 1 << (digit - 1)
            if (rows[r] | columns[c] | boxes[b]) & bit:
                return []
            rows[r] |= bit
            columns[c] |= bit
            boxes[b] |= bit
        found: list[list[int]] = []
        self.wrong_turns = 0
        tries = tries or [list(range(1, n + 1))] * len(board)

        def search() -> bool:
            best, best_mask, fewest = -1, 0, n + 1
            for position, cell in enumerate(blanks):
                r, c, b = units[cell]
                mask = full & ~(rows[r] | columns[c] | boxes[b])
                choices = mask.bit_count()
                if choices < fewest:
                    best, best_mask, fewest = position, mask, choices
                    if choices < 2:
                        break
            if best < 0:
                found.append(list(board))
                return len(found) >= limit
            if not best_mask:
                self.wrong_turns += 1
                return False
            cell = blanks[best]
            blanks[best] = blanks[-1]
            blanks.pop()
            r, c, b = units[cell]
            for digit in tries[cell]:
                bit = 1 << (digit - 1)
                if best_mask & bit:
                    board[cell] = digit
                    rows[r] |= bit
                    columns[c] |= bit
                    boxes[b] |= bit
                    done = search()
                    rows[r] ^= bit
                    columns[c] ^= bit
                    boxes[b] ^= bit
                    if done:
                        return True
            board[cell] = 0
            blanks.append(cell)
            blanks[best], blanks[-1] = blanks[-1], blanks[best]
            return False

        search()
        return found


class Candidate(NamedTuple):
    """A puzzle and its only solution (digits, 0 blank), rated by the solver's wrong turns."""

    givens: list[int]
    solution: list[int]
    rating: int


def candidate(task: Sudoku, clues: int, seed: int, attempt: int) -> Candidate | None:
    """The puzzle of attempt number ``attempt``: a function of (seed, attempt) alone.

    A random grid, then cells blanked in random order while the solution stays unique. None if the
    solution stops being unique before only ``clues`` givens are left.
    """
    solver = Solver(task)
    random = generator(seed, "sudoku", attempt)
    digits = np.arange(1, task.rows + 1)
    tries = random.permuted(np.tile(digits, (task.cells, 1)), axis=1).tolist()
    solution = solver.solutions([0] * task.cells, 1, tries)[0]
    givens, left = list(solution), task.cells
    for cell in random.permutation(task.cells).tolist():
        if left == clues:
            break
        kept, givens[cell] = givens[cell], 0
        if len(solver.solutions(givens, 2)) == 1:
            left -= 1
        else:
            givens[cell] = kept
    if left != clues:
        return None
    solver.solutions(givens, 2)
    return Candidate(givens, solution, solver.wrong_turns)


def generate(config: SudokuData) -> tuple[Puzzles, Puzzles, dict[str, Any]]:
    """Train and test puzzles, no two of them equal up to symmetry, and their statistics.

    Raises:
        UserError: so many puzzles with so few clues do not exist, or are too rare to be found.
    """
    box_rows, box_columns = config.box
    task = Sudoku(box_rows, box_columns, members=config.augmentations)
    wanted = config.train + config.test
    inputs = np.empty((wanted, task.cells), dtype=np.uint8)
    labels = np.empty_like(inputs)
    ratings: list[int] = []
    seen: set[int] = set()
    missed = 0
    with Progress("data sudoku", wanted, "puzzles") as progress:
        for attempt in count():
            found = candidate(task, config.clues, config.seed, attempt)
            if found:
                board = np.array(found.givens, dtype=np.uint8) + 1
                key = int(task.symmetry_keys(board[None])[0])
            if found is None or key in seen:
                missed += 1
                if missed > PATIENCE:
                    raise UserError(
                        f"sudoku.data: only {len(seen)} of {wanted} essentially different puzzles "
                        f"with {config.clues} clues were found; ask for fewer puzzles or more clues"
                    )
                continue
            missed = 0
            inputs[len(seen)], labels[len(seen)] = board, np.array(found.solution) + 1
            seen.add(key)
            ratings.append(found.rating)
            progress.advance()
            if len(seen) == wanted:
                break
    statistics = {
        "source": "generate",
        "board": f"{task.rows} x {task.columns}",
        "train": config.train,
        "test": config.test,
        "members_per_group": config.augmentations,
        "clues": config.clues,
        "attempts": attempt + 1,
        "wrong_turns_mean": round(float(np.mean(ratings)), 4),
        "wrong_turns_max": max(ratings),
        "train_test_overlap_up_to_symmetry": 0,
        "seed": config.seed,
    }
    split = config.train
    train = Puzzles(task, inputs[:split], labels[:split], config.seed)
    return train, Puzzles(task, inputs[split:], labels[split:], config.seed), statistics
