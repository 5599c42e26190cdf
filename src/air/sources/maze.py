"""Where mazes come from: the ``data`` section of the task in params.yaml."""

from typing import Annotated

import numpy as np
from pydantic import BaseModel, Field

from air.sources.config import Csv, Generated, HuggingFace, Source
from air.sources.generate import Chunk, Search
from air.tasks.maze import FREE, GOAL, PATH, START, WALL, Maze


class _Kind(BaseModel):
    """What a ``data`` section says of the mazes, wherever they come from."""

    size: int = Field(ge=3, le=64, description="cells on a side")
    augmentations: int = Field(
        1, ge=1, le=8, description="members per group: 1 (the paper) to 8 (all dihedral images)"
    )

    def task(self) -> Maze:
        return Maze(self.size, members=self.augmentations)

    def faults(self, inputs: np.ndarray, labels: np.ndarray) -> list[str]:
        """The marked path must be a shortest one, and nothing else changed."""
        from air.sources.search import walk  # late: loads the compiler, if it is there

        task = self.task()
        found = np.full(len(inputs), "", dtype=object)
        steps, ways, queue = (np.empty(task.cells, dtype=np.int64) for _ in range(3))
        length = (labels == PATH).sum(axis=1) + 1
        for row in range(len(inputs)):
            if not (inputs[row] == START).sum() == (inputs[row] == GOAL).sum() == 1:
                continue
            start, goal = (int(np.argmax(inputs[row] == token)) for token in (START, GOAL))
            on_path = labels[row] == PATH
            on_path[[start, goal]] = True
            walk(on_path, task.rows, start, steps, ways, queue)
            if steps[goal] != length[row]:
                found[row] = "the path in the answer does not lead from start to goal"
                continue
            walk(inputs[row] != WALL, task.rows, start, steps, ways, queue)
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


class MazeGenerated(_Kind, Generated):
    """Mazes with one shortest path."""

    walls: float = Field(gt=0, lt=1, description="share of cells drawn as walls")
    min_path: int = Field(
        ge=3, le=4096, description="cells on the shortest path, start and goal included, at least"
    )

    def search(self) -> Search:
        import numba  # noqa: F401  # late: only generation needs the compiler

        from air.sources.search import maze_attempt

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

        kind = f"a path of at least {self.min_path} cells"
        return Search(attempts, 2000, 500_000, kind, "a shorter path or another share of walls")


class MazeCsv(_Kind, Csv):
    """Mazes from two CSV files."""


class MazeHuggingFace(_Kind, HuggingFace):
    """Mazes from a data set on Hugging Face."""


MazeData = Annotated[MazeGenerated | MazeCsv | MazeHuggingFace, Source]
