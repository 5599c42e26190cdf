"""Maze: a grid of scattered walls, a start, a goal, and the one shortest path between them.

Tokens: 0 pad, then ``# SGo``: 1 wall, 2 free, 3 start, 4 goal, 5 solution path (vocabulary 6).
"""

from collections import deque
from itertools import count
from typing import Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from air.files import UserError
from air.progress import Progress
from air.tasks.sampling import generator
from air.tasks.task import PAD, Neighbourhood, Puzzles

WALL, FREE, START, GOAL, PATH = range(1, 6)
PATIENCE = 20_000  # attempts in a row without a new maze before generation gives up


class MazeData(BaseModel):
    """The ``maze.data`` section of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True)

    source: Literal["generate"] = Field("generate", description="where the mazes come from")
    size: int = Field(ge=3, le=64, description="cells on a side")
    walls: float = Field(gt=0, lt=1, description="share of cells drawn as walls")
    min_path: int = Field(
        ge=3, description="cells on the shortest path, start and goal included, at least"
    )
    train: int = Field(gt=0, description="training mazes (groups)")
    test: int = Field(gt=0, description="test mazes")
    augmentations: int = Field(
        1, ge=1, le=8, description="members per group: 1 (the paper) to 8 (all dihedral images)"
    )
    seed: int = Field(0, ge=0)


class Maze:
    """The task object (:class:`air.tasks.task.Task`) of one board size."""

    name = "maze"
    title = "Maze"
    vocabulary: tuple[str, ...] = ("?", "#", " ", "S", "G", "o")
    mask_token = PATH
    undecided_token = PAD

    def __init__(self, size: int, members: int = 1) -> None:
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

    def query_cells(self, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cells on the solution path, start and goal excluded."""
        return labels == PATH

    def violations(self, boards: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Cells whose token differs from the label."""
        return np.asarray(boards != labels)

    @property
    def words(self) -> int:
        return 1

    def augment(
        self, inputs: np.ndarray, labels: np.ndarray, words: np.ndarray, original: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """One of the seven other dihedral images; the paper uses none (``members`` 1)."""
        image = np.where(original, 0, 1 + (words[:, 0] % np.uint64(7)).astype(np.intp))
        source = dihedral(self.rows)[image]
        return np.take_along_axis(inputs, source, 1), np.take_along_axis(labels, source, 1)

    def symmetry_key(self, board: np.ndarray) -> bytes:
        """The least of the board's eight dihedral images: equal for equal mazes up to symmetry."""
        return min(bytes(image) for image in board[dihedral(self.rows)])


def dihedral(size: int) -> np.ndarray:
    """The eight symmetries of a square: ``board[dihedral(n)[g]]`` is image g; image 0 is itself."""
    grid = np.arange(size * size).reshape(size, size)
    turns = [np.rot90(flipped, turn) for flipped in (grid, grid.T) for turn in range(4)]
    return np.stack([turned.reshape(-1) for turned in turns])


def distances(free: np.ndarray, start: int) -> tuple[dict[int, int], dict[int, int]]:
    """Breadth-first search over the free cells of a square grid (bool ``[size, size]``).

    Returns the steps to each reached cell, and the number of shortest paths to it.
    """
    size = len(free)
    open_cells = free.reshape(-1).tolist()
    steps, paths = {start: 0}, {start: 1}
    queue = deque([start])
    while queue:
        cell = queue.popleft()
        for neighbour in around(cell, size):
            if not open_cells[neighbour]:
                continue
            if neighbour not in steps:
                steps[neighbour], paths[neighbour] = steps[cell] + 1, 0
                queue.append(neighbour)
            if steps[neighbour] == steps[cell] + 1:
                paths[neighbour] += paths[cell]
    return steps, paths


def around(cell: int, size: int) -> list[int]:
    """The up to four neighbours of a cell."""
    row, column = divmod(cell, size)
    near = []
    if row:
        near.append(cell - size)
    if row < size - 1:
        near.append(cell + size)
    if column:
        near.append(cell - 1)
    if column < size - 1:
        near.append(cell + 1)
    return near


def candidate(config: MazeData, attempt: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Question and answer of attempt number ``attempt``: a function of (seed, attempt) alone.

    Random walls and a random start; the goal is drawn among the cells that are far enough and
    reached by exactly one shortest path, so the answer is unique. None if there is no such cell.
    """
    random = generator(config.seed, "maze", attempt)
    free = random.random((config.size, config.size)) >= config.walls
    open_cells = np.flatnonzero(free)
    if not len(open_cells):
        return None
    start = int(random.choice(open_cells))
    steps, paths = distances(free, start)
    goals = [cell for cell in steps if steps[cell] + 1 >= config.min_path and paths[cell] == 1]
    if not goals:
        return None
    goal = int(random.choice(goals))
    question = np.where(free.reshape(-1), FREE, WALL).astype(np.uint8)
    question[start], question[goal] = START, GOAL
    answer, cell = question.copy(), goal
    while steps[cell] > 1:  # walk back; the step before is the only reached cell one step nearer
        near = around(cell, config.size)
        cell = next(c for c in near if steps.get(c, -1) == steps[cell] - 1)
        answer[cell] = PATH
    return question, answer


def generate(config: MazeData) -> tuple[Puzzles, Puzzles, dict[str, Any]]:
    """Train and test mazes, no two of them equal up to symmetry, and their statistics.

    Raises:
        UserError: so many mazes with so long a path do not exist, or are too rare to be found.
    """
    task = Maze(config.size, members=config.augmentations)
    wanted = config.train + config.test
    inputs = np.empty((wanted, task.cells), dtype=np.uint8)
    labels = np.empty_like(inputs)
    seen: set[bytes] = set()
    missed = 0
    with Progress("data maze", wanted, "mazes") as progress:
        for attempt in count():
            found = candidate(config, attempt)
            key = task.symmetry_key(found[0]) if found else None
            if found is None or key is None or key in seen:
                missed += 1
                if missed > PATIENCE:
                    raise UserError(
                        f"maze.data: only {len(seen)} of {wanted} essentially different mazes "
                        f"with a path of {config.min_path} cells were found; ask for fewer mazes, "
                        "a shorter path or another share of walls"
                    )
                continue
            missed = 0
            inputs[len(seen)], labels[len(seen)] = found
            seen.add(key)
            progress.advance()
            if len(seen) == wanted:
                break
    path_cells = (labels == PATH).sum(axis=1) + 2
    statistics = {
        "source": "generate",
        "board": f"{config.size} x {config.size}",
        "train": config.train,
        "test": config.test,
        "members_per_group": config.augmentations,
        "attempts": attempt + 1,
        "path_cells_mean": round(float(path_cells.mean()), 3),
        "path_cells_min": int(path_cells.min()),
        "path_cells_max": int(path_cells.max()),
        "wall_share": round(float((inputs == WALL).mean()), 4),
        "train_test_overlap_up_to_symmetry": 0,
        "seed": config.seed,
    }
    split = config.train
    train = Puzzles(task, inputs[:split], labels[:split], config.seed)
    return train, Puzzles(task, inputs[split:], labels[split:], config.seed), statistics
