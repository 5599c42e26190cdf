"""The tasks by name, and how one is rebuilt from what a data file says of it."""

from typing import Any

from air.tasks.maze import Maze
from air.tasks.sudoku import Sudoku
from air.tasks.task import Task

TASKS: dict[str, type[Sudoku] | type[Maze]] = {"sudoku": Sudoku, "maze": Maze}


def build(spec: dict[str, Any]) -> Task:
    """The task that ``spec`` (:meth:`air.tasks.task.Task.spec`) describes."""
    arguments = dict(spec)
    return TASKS[arguments.pop("name")](**arguments)
