"""Puzzles are what they say: unique, disjoint, and still themselves after augmentation."""

from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from air.files import UserError
from air.tasks import maze, sudoku
from air.tasks.maze import FREE, GOAL, PATH, START, WALL, Maze, MazeData
from air.tasks.registry import load_puzzles
from air.tasks.sudoku import BLANK, Sudoku, SudokuData
from air.tasks.task import Puzzles

SHAPES = [([2, 2], 8, 30), ([2, 3], 16, 12), ([3, 3], 34, 4)]


def brute_force(board: list[int], rows: int, columns: int) -> int:
    """Solutions of a Sudoku (0 blank), counted cell by cell: shares nothing with the solver."""
    n = rows * columns
    if 0 not in board:
        return 1
    cell = board.index(0)
    row, column = divmod(cell, n)
    top, left = row - row % rows, column - column % columns
    seen = {board[row * n + c] for c in range(n)} | {board[r * n + column] for r in range(n)}
    seen |= {board[(top + r) * n + left + c] for r, c in product(range(rows), range(columns))}
    count = 0
    for digit in set(range(1, n + 1)) - seen:
        count += brute_force([*board[:cell], digit, *board[cell + 1 :]], rows, columns)
    return count


def check_sudoku(task: Sudoku, inputs: np.ndarray, labels: np.ndarray) -> None:
    """Every label solves its input and keeps its givens, and there is no conflict in it."""
    given_cells = inputs != BLANK
    assert (labels[given_cells] == inputs[given_cells]).all()
    assert labels.min() > BLANK
    assert not task.violations(labels, labels).any()


@pytest.mark.parametrize(("box", "clues", "count"), SHAPES, ids=str)
def test_generated_sudokus_have_one_solution(box: list[int], clues: int, count: int) -> None:
    train, test, statistics = sudoku.generate(SudokuData(box=box, clues=clues, train=count, test=2))
    assert isinstance(train.task, Sudoku)
    for puzzles in (train, test):
        check_sudoku(train.task, puzzles.inputs, puzzles.labels)
        assert ((puzzles.inputs != BLANK).sum(axis=1) == clues).all()
        for board in puzzles.inputs:
            digits = [max(int(token) - 1, 0) for token in board]
            assert brute_force(digits, *box) == 1
    assert statistics["train"] == count


def test_sudoku_boxes_are_where_they_belong() -> None:
    task = Sudoku(2, 3)
    near = task.neighbourhoods["nbr"].matrix
    # cell (0, 0) of a 6 x 6 board: its row, its column, its box of 2 rows and 3 columns
    expected = {*range(6), *range(0, 36, 6), 6, 7, 8}
    assert set(np.flatnonzero(near[0])) == expected
    assert (near.sum(axis=1) == 6 + 5 + 2).all()


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(SHAPES), st.integers(0, 2**32), st.data())
def test_augmented_sudokus_are_sudokus(
    shape: tuple[list[int], int, int], seed: int, data: st.DataObject
) -> None:
    box, clues, _ = shape
    train, _, _ = sudoku.generate(SudokuData(box=box, clues=clues, train=2, test=1))
    puzzles = Puzzles(train.task, train.inputs, train.labels, seed)
    member = data.draw(st.lists(st.integers(0, 999), min_size=6, max_size=6))
    puzzle = np.array([0, 1] * 3)
    inputs, labels = puzzles.draw(puzzle, np.array(member))
    assert isinstance(train.task, Sudoku)
    check_sudoku(train.task, inputs, labels)
    # the same puzzle up to symmetry: the key sees through every augmentation
    keys = train.task.symmetry_keys(train.inputs)
    assert (train.task.symmetry_keys(inputs) == keys[puzzle]).all()
    again, _ = puzzles.draw(puzzle[::-1], np.array(member)[::-1])
    assert np.array_equal(again[::-1], inputs)  # a function of the key, not of the batch


def test_member_zero_is_the_original(sudokus: tuple[Puzzles, Puzzles]) -> None:
    train, _ = sudokus
    everyone = np.arange(len(train))
    inputs, labels = train.draw(everyone, np.zeros_like(everyone))
    assert np.array_equal(inputs, train.inputs)
    assert np.array_equal(labels, train.labels)
    others, _ = train.draw(everyone, np.full_like(everyone, 3))
    assert (others != train.inputs).any(axis=1).mean() > 0.9


@pytest.mark.parametrize("name", ["sudokus", "mazes"])
def test_train_and_test_share_no_puzzle(name: str, request: pytest.FixtureRequest) -> None:
    train, test = request.getfixturevalue(name)
    images: set[bytes] = set()
    for member in range(200 if name == "sudokus" else 8):
        everyone = np.arange(len(train))
        images |= {bytes(b) for b in train.draw(everyone, np.full_like(everyone, member))[0]}
    assert images.isdisjoint(bytes(board) for board in test.inputs)


def test_generation_is_a_function_of_the_seed() -> None:
    def boards(seed: int) -> np.ndarray:
        config = SudokuData(box=[2, 2], clues=9, train=5, test=5, seed=seed)
        return sudoku.generate(config)[0].inputs

    assert np.array_equal(boards(1), boards(1))
    assert not np.array_equal(boards(1), boards(2))


def test_too_many_puzzles_are_refused() -> None:
    with pytest.raises(UserError, match=r"only \d+ of 5100 essentially different puzzles"):
        sudoku.generate(SudokuData(box=[2, 2], clues=5, train=5000, test=100))
    with pytest.raises(UserError, match=r"only \d+ of 5100 essentially different mazes"):
        maze.generate(MazeData(size=3, walls=0.3, min_path=5, train=5000, test=100))


def count_shortest(question: np.ndarray, size: int) -> tuple[int, int]:
    """(length in cells, number) of the shortest paths, by counting walks."""
    free = question != WALL
    cells = np.arange(size * size)
    row, column = np.divmod(cells, size)
    near = np.abs(row[:, None] - row) + np.abs(column[:, None] - column) == 1
    step = (near & free[:, None] & free[None, :]).astype(np.int64)
    reach = (question == START).astype(np.int64)
    for length in range(2, size * size + 1):
        reach = reach @ step  # walks of so many steps; the first to arrive are the shortest paths
        if reach[question == GOAL].item():
            return length, int(reach[question == GOAL].item())
    return 0, 0


def test_mazes_have_one_shortest_path(mazes: tuple[Puzzles, Puzzles]) -> None:
    for puzzles in mazes:
        for question, answer in zip(puzzles.inputs, puzzles.labels, strict=True):
            length, paths = count_shortest(question, 5)
            assert paths == 1
            assert length >= 5
            assert (answer == PATH).sum() == length - 2
            changed = question != answer
            assert (question[changed] == FREE).all()
            assert (answer[changed] == PATH).all()


def test_maze_members_are_its_eight_images(mazes: tuple[Puzzles, Puzzles]) -> None:
    train, _ = mazes
    task = train.task
    assert isinstance(task, Maze)
    puzzle = np.repeat(np.arange(10), 8)
    images, _ = train.draw(puzzle, np.tile(np.arange(8), 10))
    keys = [task.symmetry_key(board) for board in train.inputs[:10]]
    assert all(task.symmetry_key(b) == keys[i] for i, b in zip(puzzle, images, strict=True))


def test_maze_neighbourhoods_by_hand() -> None:
    task = Maze(5)
    centre = 12
    assert set(np.flatnonzero(task.neighbourhoods["nbr4"].matrix[centre])) == {7, 11, 13, 17}
    assert task.neighbourhoods["nbr8"].matrix[centre].sum() == 8
    assert task.neighbourhoods["win5"].matrix[centre].sum() == 24
    assert set(np.flatnonzero(task.neighbourhoods["nbr4"].matrix[0])) == {1, 5}


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1, 5), min_size=16, max_size=16))
def test_sudoku_violations_by_hand(tokens: list[int]) -> None:
    board = np.array([tokens], dtype=np.uint8)
    found = Sudoku(2, 2).violations(board, board)[0]
    for cell, token in enumerate(tokens):
        row, column = divmod(cell, 4)
        clash = any(
            other != cell
            and tokens[other] == token
            and (
                other // 4 == row
                or other % 4 == column
                or (other // 8 == cell // 8 and other % 4 // 2 == column // 2)
            )
            for other in range(16)
        )
        assert found[cell] == (token > BLANK and clash)


def test_puzzles_survive_the_disk(tmp_path: Path, sudokus: tuple[Puzzles, Puzzles]) -> None:
    path = tmp_path / "train.safetensors"
    sudokus[0].save(path, "train")
    loaded = load_puzzles(path)
    assert np.array_equal(loaded.inputs, sudokus[0].inputs)
    assert loaded.task.spec() == sudokus[0].task.spec()
    first = path.read_bytes()
    sudokus[0].save(path, "train")
    assert path.read_bytes() == first


@pytest.mark.parametrize("damage", ["truncated", "empty", "missing", "foreign"])
def test_damaged_puzzles_are_refused_by_name(
    tmp_path: Path, sudokus: tuple[Puzzles, Puzzles], damage: str
) -> None:
    path = tmp_path / "train.safetensors"
    if damage != "missing":
        sudokus[0].save(path, "train")
        content = {"truncated": path.read_bytes()[:300], "empty": b"", "foreign": b"PK\3\4" * 99}
        path.write_bytes(content[damage])
    with pytest.raises(UserError, match=r"train\.safetensors"):
        load_puzzles(path)
