"""How a data file becomes puzzles of its task again."""

from pathlib import Path
from typing import Any

from air.files import AGAIN, UserError, short
from air.reading import read_tensors
from air.tasks.registry import TASKS
from air.tasks.task import SCHEMA, Puzzles, Task


def build(spec: dict[str, Any]) -> Task:
    """The task that ``spec`` (:meth:`air.tasks.task.Task.spec`) describes.

    Raises:
        KeyError, TypeError, ValueError: it describes none.
    """
    arguments = dict(spec)
    if any(type(value) is not int for name, value in arguments.items() if name != "name"):
        raise TypeError(f"sizes must be integers: {short(spec)}")
    return TASKS[arguments.pop("name")](**arguments)


def load_puzzles(path: Path) -> Puzzles:
    """Read a split written by :meth:`.Puzzles.save`; its boards stay in the file until used.

    Raises:
        UserError: the file is missing, damaged, of another schema, or its tokens do not fit.
    """
    tensors, header = read_tensors(path, "puzzles", mapped=True)
    if header.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {header.get('schema')}, but this version reads {SCHEMA}")
    try:
        task, seed, sha256 = build(header["task"]), header["seed"], header["sha256"]
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise ValueError(f"seed {short(seed)}")
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: its header describes no puzzles ({error}); {AGAIN}") from None
    if not {"inputs", "labels"} <= set(tensors):
        raise UserError(f"{path}: needs uint8 tensors inputs and labels")
    inputs, labels = tensors["inputs"], tensors["labels"]
    for name, boards in (("inputs", inputs), ("labels", labels)):
        if boards.ndim != 2 or boards.shape[1] != task.cells:
            raise UserError(f"{path}: {name} must be boards of {task.cells} cells")
        if boards.size and boards.max() >= len(task.vocabulary):
            raise UserError(f"{path}: {name} hold a token beyond {len(task.vocabulary) - 1}")
    if not 0 < len(inputs) == len(labels):
        raise UserError(f"{path}: holds {len(inputs)} questions and {len(labels)} answers; {AGAIN}")
    puzzles = Puzzles(task, inputs, labels, seed)
    if puzzles.sha256 != sha256:
        raise UserError(f"{path}: its boards do not match their hash; {AGAIN}")
    return puzzles
