"""The ``data`` section of each task's parameters, by the task's name."""

from typing import Any

from air.sources.maze import MazeData
from air.sources.sudoku import SudokuData
from air.tasks.registry import TASKS

#: An :class:`air.sources.config.Data`, or a union of some.
SOURCES: dict[str, Any] = {"sudoku": SudokuData, "maze": MazeData}
assert SOURCES.keys() == TASKS.keys()
