"""The stage `train`: one model, its weights (also at steps on the way) and its training curve."""

import logging
import os
from pathlib import Path
from typing import Any

import torch

from air import paths
from air.checkpoint import save_model, save_snapshots
from air.devices import compiles, prepare
from air.files import UserError
from air.params import Params, load_params
from air.stages import code
from air.stages.inputs import identity, known_variant, overwritten, puzzles_of
from air.tasks.task import Puzzles
from air.training.curve import format_rows
from air.training.loop import Diverged, Run, Stopped, Trainer
from air.training.parallel import LOST, PeerLost, Ranks, launch, launched
from air.training.state import CannotSave, run_key
from air.writing import free, write_text

log = logging.getLogger(__name__)
OUTPUTS = ("training.csv", "model.safetensors", "snapshots.safetensors")


def train(task: str, variant: str, seed: int, arguments: list[str]) -> int:
    """Write model.safetensors, snapshots.safetensors and training.csv; the exit code.

    Args:
        arguments: of this very command, with which it is started again if several processes are to
            share the training.

    Raises:
        UserError: the parameters or the puzzles do not allow it.
    """
    params = load_params()
    section, config = params.task(task), params.task(task).train
    chosen = known_variant(variant)
    label = f"train {task} {variant} seed {seed}"
    out = paths.run(task, variant, seed)
    with puzzles_of(task, "train") as puzzles:
        if config.validation >= len(puzzles):
            raise UserError(
                f"params.yaml: {task}.train.validation: {config.validation} groups held out leave "
                f"none of the {len(puzzles)} to train on"
            )
        try:
            config.snapshot_steps(config.total_steps(len(puzzles) - config.validation))
        except ValueError as error:  # not known before, if `epochs` says how many steps
            raise UserError(f"params.yaml: {task}.train: {error}") from None
        free(*(out / name for name in OUTPUTS))
        if config.processes > 1 and not launched():
            prepare(params.compute, config.processes)
            status, message = launch(config.processes, arguments)
            if message:
                log.error("%s: %s", label, message)
            return status
        device = prepare(params.compute)
        out.mkdir(parents=True, exist_ok=True)  # fails now if it must, and not after the training
        run = Run(section.model, chosen, config, params.compute.precision, seed)
        return _train(run, params, puzzles, device, task, label)


def _train(
    run: Run, params: Params, puzzles: Puzzles, device: torch.device, task: str, label: str
) -> int:
    """Train in this process, one of several or alone; the exit code."""
    identified = _identity(run, params, puzzles, device)
    key = run_key(identified)
    ranks = Ranks.join(device)
    _same_puzzles(ranks, key, device, paths.data(task, "train"))
    steps = run.train.total_steps(len(puzzles) - run.train.validation)
    passes = 2 if run.train.q_continue else 1
    calls = steps * run.model.updates_per_segment * passes  # of f
    trainer = Trainer(
        run,
        puzzles,
        device,
        paths.RESUME / f"{task}-{run.variant.name}-seed{run.seed}-{key}",
        params.runtime.save_every_seconds,
        label,
        compiles(params.compute, calls, device),
        ranks,
    )
    try:
        trainer.fit()
    except (Diverged, CannotSave) as error:
        log.error("%s: %s", label, error)
        return 1
    except PeerLost:
        os._exit(LOST)  # at once: a process group that has lost a member hangs on its way out
    except Stopped as error:
        if ranks.rank == 0:
            log.error("%s: %s", label, error)
        return 130
    if ranks.rank == 0:
        unchanged = identity(puzzles) == identified["puzzles"]
        if unchanged:
            _write(trainer, task, run)
        trainer.files.remove()
        if not unchanged:
            raise overwritten(paths.data(task, "train"))
    ranks.leave()
    return 0


def _identity(run: Run, params: Params, puzzles: Puzzles, device: torch.device) -> dict[str, Any]:
    """All that determines the bytes of a training run."""
    return {
        "model": run.model.model_dump(),
        "train": run.train.model_dump(mode="json"),
        "variant": run.variant.name,
        "seed": run.seed,
        "compute": params.compute.model_dump(),
        "device": device.type,
        "code": code.digest("train", puzzles.task.name),
        "puzzles": identity(puzzles),
    }


def _write(trainer: Trainer, task: str, run: Run) -> None:
    out = paths.run(task, run.variant.name, run.seed)
    # snapshots change no model, so its file does not say whether there were any
    recipe = run.train.model_dump(mode="json", exclude={"snapshots", "snapshot_precision"})
    origin = {"task": task, "seed": run.seed, "train": recipe}
    model = trainer.state.model
    write_text(out / "training.csv", format_rows(trainer.state.rows))
    save_snapshots(model, trainer.snapshots.read(), out / "snapshots.safetensors", origin)
    save_model(model, out / "model.safetensors", origin)


def _same_puzzles(ranks: Ranks, key: str, device: torch.device, path: Path) -> None:
    """Raise a UserError if one process has read other puzzles than another."""
    keys = ranks.gather(torch.tensor([int(key[:15], 16)], device=device))
    if keys.unique().numel() > 1:
        raise overwritten(path)
