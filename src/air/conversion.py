"""A checkpoint that others' training wrote, as a model of ours: `air import-checkpoint`."""

import logging
import os
from pathlib import Path

from air.checkpoint import save_model, save_snapshots
from air.files import UserError
from air.foreign.checkpoints import import_found
from air.foreign.sources import find

log = logging.getLogger(__name__)


def convert(
    source: str,
    output: Path | None = None,
    variant: str | None = None,
    cells: int | None = None,
    task: str | None = None,
    seed: int | None = None,
) -> None:
    """Write a checkpoint as a model.safetensors; those of a folder also as snapshots beside it.

    Args:
        source: see :func:`air.foreign.sources.find`.
        output: the model; None: model.safetensors beside the checkpoint, or here if it is the
            hub's.
        variant, cells: see :func:`air.foreign.checkpoints.import_checkpoint`.
        task, seed: what the model's header says; None: as the checkpoint does.

    Raises:
        UserError: the source is no such checkpoint, or is itself the output.
    """
    found = find(source)
    beside = Path() if found.hub else Path(source) if found.series else Path(source).parent
    target = output or beside / "model.safetensors"
    model, origin, snapshots = import_found(found, variant, cells)
    if os.path.realpath(target) in map(os.path.realpath, found.steps.values()):
        raise UserError(f"{target}: is the checkpoint itself; choose another --output")
    origin |= {"task": task or origin["task"], "seed": origin["seed"] if seed is None else seed}
    if snapshots:
        of_steps = target.with_name("snapshots.safetensors")
        save_snapshots(model, snapshots, of_steps, origin)
        log.info(f"{of_steps} written: steps {', '.join(map(str, snapshots))}")
    save_model(model, target, origin)
    log.info(
        f"{target} written: {model.variant.name}, boards of {model.cells} cells, "
        f"task {origin['task'] or 'unknown'}, seed {origin['seed']}"
    )
