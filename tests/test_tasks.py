"""Puzzles are what they say: unique, disjoint, and still themselves after augmentation."""

import os
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from air.files import UserError
from air.sources.datasets import make
from air.sources.maze import MazeGenerated
from air.sources.sudoku import SudokuGenerated
from air.tasks.maze import FREE, GOAL, PATH, START, WALL, Maze
from air.tasks.puzzles import load_puzzles
from air.tasks.registry import TASKS
from air.tasks.sampling import dihedral
from air.tasks.sudoku import BLANK, Sudoku
from air.tasks.task import Puzzles
from air.tasks.words import WORDS

SHAPES = [([2, 2], 8, 30), ([2, 3], 16, 12), ([3, 3], 30, 6), ([3, 4], 80, 2)]


def count_solutions(board: list[int], rows: int, columns: int, limit: int = 2) -> int:
    """Solutions of a Sudoku (0 blank), up to ``limit``, as an exact cover: Knuth's Algorithm X.

    Shares nothing with the solver: each (cell, digit) covers a cell and a digit in a row, in a
    column and in a box; a solution covers everything once.
    """
    n = rows * columns
    covers = {
        (cell, digit): [
            ("cell", cell),
            ("row", cell // n, digit),
            ("column", cell % n, digit),
            ("box", cell // n // rows, cell % n // columns, digit),
        ]
        for cell in range(n * n)
        for digit in range(1, n + 1)
        if board[cell] in (0, digit)
    }
    options: dict[Any, set[Any]] = {}
    for choice, covered in covers.items():
        for thing in covered:
            options.setdefault(thing, set()).add(choice)
    if len(options) < 4 * n * n:
        return 0

    def search() -> int:
        if not options:
            return 1
        found = 0
        for choice in list(options[min(options, key=lambda thing: len(options[thing]))]):
            removed = []
            for thing in covers[choice]:
                for other in options[thing]:
                    for more in covers[other]:
                        if more != thing:
                            options[more].remove(other)
                removed.append(options.pop(thing))
            found += search()
            for thing in reversed(covers[choice]):
                options[thing] = removed.pop()
                for other in options[thing]:
                    for more in covers[other]:
                        if more != thing:
                            options[more].add(other)
            if found >= limit:
                break
        return found

    return search()


def check_sudoku(task: Sudoku, inputs: np.ndarray, labels: np.ndarray) -> None:
    """Every label solves its input and keeps its givens, and there is no conflict in it."""
    given_cells = inputs != BLANK
    assert (labels[given_cells] == inputs[given_cells]).all()
    assert labels.min() > BLANK
    assert not task.violations(labels, labels).any()


@pytest.mark.parametrize(("box", "clues", "count"), SHAPES, ids=str)
def test_generated_sudokus_have_one_solution(box: list[int], clues: int, count: int) -> None:
    train, test, statistics = make(
        SudokuGenerated(source="generate", box=box, clues=clues, train=count, test=2)
    )
    assert isinstance(train.task, Sudoku)
    for puzzles in (train, test):
        check_sudoku(train.task, puzzles.inputs, puzzles.labels)
        assert ((puzzles.inputs != BLANK).sum(axis=1) == clues).all()
        for board in puzzles.inputs:
            digits = [max(int(token) - 1, 0) for token in board]
            assert count_solutions(digits, *box) == 1
    assert statistics.splits.train.puzzles == count


def test_extreme_sudokus_are_minimal_and_rated() -> None:
    config = SudokuGenerated(
        source="generate", box=[3, 3], clues="minimal", rating=[15, 40], train=4, test=2
    )
    train, _, statistics = make(config)
    for board in train.inputs:
        digits = [int(token) - 1 for token in board]
        assert count_solutions(digits, 3, 3) == 1
        for clue in np.flatnonzero(digits):
            spared = [0 if cell == clue else digit for cell, digit in enumerate(digits)]
            assert count_solutions(spared, 3, 3) > 1
    for _, split in statistics.splits:
        assert 15 <= split.traits["rating"].min <= split.traits["rating"].max <= 40


def test_threads_change_nothing() -> None:
    sudoku = SudokuGenerated(
        source="generate", box=[3, 3], clues="minimal", rating=[3, None], train=30, test=5
    )
    maze = MazeGenerated(source="generate", size=12, walls=0.35, min_path=25, train=30, test=5)
    for config in (sudoku, maze):
        one, three = make(config, workers=1), make(config, workers=3)
        assert one[2] == three[2]  # hashes of the boards among it
        assert np.array_equal(one[1].inputs, three[1].inputs)


def test_sudoku_boxes_are_where_they_belong() -> None:
    task = Sudoku(2, 3)
    near = task.neighbourhoods["nbr"].matrix
    # cell (0, 0) of a 6 x 6 board: its row, its column, its box of 2 rows and 3 columns
    expected = {*range(6), *range(0, 36, 6), 6, 7, 8}
    assert set(np.flatnonzero(near[0])) == expected
    assert (near.sum(axis=1) == 6 + 5 + 2).all()


@settings(max_examples=40)
@given(st.sampled_from(SHAPES), st.integers(0, 2**32), st.data())
def test_augmented_sudokus_are_sudokus(
    shape: tuple[list[int], int, int], seed: int, data: st.DataObject
) -> None:
    box, clues, _ = shape
    train, _, _ = make(SudokuGenerated(source="generate", box=box, clues=clues, train=2, test=1))
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


@settings(max_examples=40)
@given(st.sampled_from([(2, 2), (2, 3), (3, 3)]), st.integers(0, 2**32))
def test_sudoku_symmetries_are_a_group(box: tuple[int, int], seed: int) -> None:
    """Each moves cells and renames digits; composed or undone it keeps peers peers."""
    task = Sudoku(*box)
    words = np.random.default_rng(seed).integers(2**63, size=(2, task.words), dtype=np.uint64)
    words[:, : task.rows] = np.arange(task.rows)  # in order: digits keep their names
    places = np.divmod(np.arange(task.cells), task.rows)
    row, column = (np.tile(place + 2, (2, 1)).astype(np.uint8) for place in places)
    rows, columns = task.augment(row, column, words, np.ones(2, dtype=int))
    first, second = (rows.astype(int) - 2) * task.rows + columns - 2  # cell that came to each
    assert sorted(first) == list(range(task.cells))
    for move in (first, second, first[second], np.argsort(first)):
        assert np.array_equal(task.peers[move][:, move], task.peers)


def test_maze_symmetries_are_a_group() -> None:
    moves = {bytes(move.astype(np.uint8)) for move in dihedral(5)}
    assert len(moves) == 8
    for first, second in product(dihedral(5), repeat=2):
        assert bytes(first[second].astype(np.uint8)) in moves


def test_a_member_is_the_same_in_any_process(
    sudokus: tuple[Puzzles, Puzzles], tmp_path: Path
) -> None:
    train, _ = sudokus
    train.save(tmp_path / "train.safetensors", "train")
    code = (
        "import numpy as np, sys; from pathlib import Path; "
        "from air.tasks.puzzles import load_puzzles; "
        "p = load_puzzles(Path(sys.argv[1])); "
        "print(p.draw(np.arange(40), np.arange(40) * 7)[0].tobytes().hex())"
    )
    ended = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "train.safetensors"],
        capture_output=True, text=True, check=True, env={**os.environ, "PYTHONHASHSEED": "7"},
    )  # fmt: skip
    here = train.draw(np.arange(40), np.arange(40) * 7)[0].tobytes().hex()
    assert ended.stdout.strip() == here


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
        config = SudokuGenerated(source="generate", box=[2, 2], clues=9, train=5, test=5, seed=seed)
        return make(config)[0].inputs

    assert np.array_equal(boards(1), boards(1))
    assert not np.array_equal(boards(1), boards(2))


def test_too_many_puzzles_are_refused() -> None:
    with pytest.raises(
        UserError, match=r"only \d+ of 5100 essentially different puzzles .*another number"
    ):
        make(SudokuGenerated(source="generate", box=[2, 2], clues=5, train=5000, test=100))
    with pytest.raises(
        UserError, match=r"maze\.data: only \d+ of 5100 .* a path of at least 5 cells"
    ):
        make(MazeGenerated(source="generate", size=3, walls=0.3, min_path=5, train=5000, test=100))


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


@pytest.mark.parametrize(("size", "min_path"), [(5, 5), (12, 30)])
def test_mazes_have_one_shortest_path(size: int, min_path: int) -> None:
    config = MazeGenerated(
        source="generate", size=size, walls=0.35, min_path=min_path, train=20, test=10
    )
    for puzzles in make(config)[:2]:
        for question, answer in zip(puzzles.inputs, puzzles.labels, strict=True):
            length, paths = count_shortest(question, size)
            assert paths == 1
            assert length >= min_path
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
    keys = task.symmetry_keys(train.inputs[:10])
    assert (task.symmetry_keys(images) == keys[puzzle]).all()
    every = [{bytes(image) for image in images[puzzle == i]} for i in range(10)]
    assert max(len(of_one) for of_one in every) == 8  # fewer only where a maze is its own image


def test_maze_neighbourhoods_by_hand() -> None:
    task = Maze(5)
    centre = 12
    assert set(np.flatnonzero(task.neighbourhoods["nbr4"].matrix[centre])) == {7, 11, 13, 17}
    assert task.neighbourhoods["nbr8"].matrix[centre].sum() == 8
    assert task.neighbourhoods["win5"].matrix[centre].sum() == 24
    assert set(np.flatnonzero(task.neighbourhoods["nbr4"].matrix[0])) == {1, 5}


@settings(max_examples=50)
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


def test_changed_boards_are_noticed(tmp_path: Path, sudokus: tuple[Puzzles, Puzzles]) -> None:
    path = tmp_path / "train.safetensors"
    sudokus[0].save(path, "train")
    content = bytearray(path.read_bytes())
    content[-5] = 2 if content[-5] != 2 else 3
    path.write_bytes(content)
    with pytest.raises(UserError, match="boards do not match their hash"):
        load_puzzles(path)


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


def test_every_task_has_its_name_and_its_words() -> None:
    assert list(TASKS) == list(WORDS)
    assert all(task.name == name for name, task in TASKS.items())
    assert "suduko" not in TASKS
