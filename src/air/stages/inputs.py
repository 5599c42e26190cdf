"""What stages read: puzzles, and a trained model with the puzzles to be measured on."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from air import paths
from air.checkpoint import load_model
from air.devices import ComputeConfig, prepare
from air.files import OutOfRange, UserError
from air.model.network import AIR
from air.model.variants import Variant
from air.params import Params, TaskParams, load_params
from air.tasks.puzzles import load_puzzles
from air.tasks.task import Puzzles
from air.writing import free


def known_variant(name: str) -> Variant:
    """The variant of that name.

    Raises:
        UserError: there is none.
    """
    try:
        return Variant.parse(name)
    except ValueError as error:
        raise UserError(str(error)) from None


@contextmanager
def puzzles_of(task: str, split: str) -> Iterator[Puzzles]:
    """A split's puzzles, which lie in their file while they are used.

    Raises:
        UserError: there are none, they are another task's, or were written over meanwhile.
    """
    path = paths.data(task, split)
    puzzles = load_puzzles(path)
    if puzzles.task.name != task:
        raise UserError(f"{path}: holds puzzles of {puzzles.task.name}; run air data {task}")
    read = identity(puzzles)
    yield puzzles
    if identity(puzzles) != read:
        raise overwritten(path)


def identity(puzzles: Puzzles) -> dict[str, Any]:
    """What tells a data set from any other; its boards are read anew."""
    return {"task": puzzles.task.spec(), "seed": puzzles.seed, "sha256": puzzles.sha256}


def overwritten(path: Path) -> UserError:
    return UserError(f"{path}: was overwritten while in use; no result was written, run again")


@dataclass(frozen=True)
class Subject:
    """A trained model to be measured, on what, and where its measures belong."""

    model: AIR
    puzzles: Puzzles  # the test puzzles
    section: TaskParams
    compute: ComputeConfig
    device: torch.device
    folder: Path


@contextmanager
def subject(
    task: str,
    variant: str,
    seed: int,
    *outputs: str,
    file: str = "model.safetensors",
    load: Callable[[Path], AIR] = load_model,
) -> Iterator[Subject]:
    """Load a run's model and its test puzzles. Measure inside the block, write after it.

    Args:
        outputs: the files of the run's folder that will be written.
        file: the one that holds the model, which ``load`` rebuilds.

    Raises:
        UserError: something is missing, or does not belong together.
    """
    params: Params = load_params()
    if variant not in params.task(task).imported:
        known_variant(variant)
    with puzzles_of(task, "test") as puzzles:
        folder = paths.run(task, variant, seed)
        free(*(folder / name for name in outputs))
        path = folder / file
        model = load(path)
        name = model.origin.get("name", model.variant.name)  # of an imported one, its own
        is_of = (model.origin.get("task"), name, model.origin.get("seed"))
        if is_of != (task, variant, seed):
            raise UserError(
                f"{path}: holds the model of {is_of}, not of {(task, variant, seed)}; "
                "delete it and run again"
            )
        if (model.cells, model.vocabulary) != (puzzles.task.cells, len(puzzles.task.vocabulary)):
            raise UserError(
                f"{path}: trained on boards of {model.cells} cells with {model.vocabulary} tokens, "
                f"but {paths.data(task, 'test')} holds boards of {puzzles.task.cells} cells with "
                f"{len(puzzles.task.vocabulary)}; make it again"
            )
        device = prepare(params.compute)
        try:
            yield Subject(model, puzzles, params.task(task), params.compute, device, folder)
        except OutOfRange as error:  # a model of other sizes than params.yaml's, maybe imported
            raise UserError(f"{path}: {error}; change it in params.yaml") from None
