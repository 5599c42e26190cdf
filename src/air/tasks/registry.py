"""The tasks by name. Each lies in the module of its name, which is read when it is asked for.

So a run depends on its own task alone, and a new task makes no model stale.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from air.tasks.task import Task

CLASSES = {"sudoku": "Sudoku", "maze": "Maze"}


class _Tasks(Mapping[str, "type[Task]"]):
    def __getitem__(self, name: str) -> "type[Task]":
        of_class = CLASSES[name]  # first: the name may come from a file
        found: type[Task] = getattr(import_module(f"air.tasks.{name}"), of_class)
        return found

    def __iter__(self) -> Iterator[str]:
        return iter(CLASSES)

    def __len__(self) -> int:
        return len(CLASSES)

    def __contains__(self, name: object) -> bool:
        return name in CLASSES


#: Every task by its name.
TASKS: Mapping[str, "type[Task]"] = _Tasks()
