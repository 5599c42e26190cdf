"""The stage `train`: one model, its weights and its training curve."""

import os
import sys
from pathlib import Path

import torch

from air import paths
from air.checkpoint import save_model
from air.devices import compiles, prepare
from air.files import UserError
from air.params import load_params
from air.stages import code
from air.stages.inputs import identity, known_variant, overwritten, puzzles_of
from air.training.loop import Diverged, Run, Stopped, format_rows
from air.training.loop import train as fit
from air.training.parallel import LOST, PeerLost, Ranks, launch, launched
from air.training.state import CannotSave, RunState, run_key
from air.writing import free, write_text


def train(task: str, variant: str, seed: int, arguments: list[str]) -> int:
    """Write model.safetensors and training.csv; the exit code.

    Args:
        arguments: of this very command, with which it is started again if several processes are to
            share the training.
    """
    params = load_params()
    section, compute, config = params.task(task), params.compute, params.task(task).train
    chosen = known_variant(variant)
    label = f"train {task} {variant} seed {seed}"
    out = paths.run(task, variant, seed)
    with puzzles_of(task, "train") as puzzles:
        if config.validation >= len(puzzles):
            raise UserError(
                f"params.yaml: {task}.train.validation: {config.validation} groups held out leave "
                f"none of the {len(puzzles)} to train on"
            )
        free(out / "training.csv", out / "model.safetensors")
        if config.processes > 1 and not launched():
            prepare(compute, config.processes)
            status, message = launch(config.processes, arguments)
            if message:
                print(f"air: {label}: {message}", file=sys.stderr)
            return status
        device = prepare(compute)
        out.mkdir(parents=True, exist_ok=True)  # fails now if it must, and not after the training
        run = Run(section.model, chosen, config, compute.precision, seed)
        trained = {
            "model": section.model.model_dump(),
            "train": config.model_dump(mode="json"),
            "variant": run.variant.name,
            "seed": seed,
            "compute": compute.model_dump(),
            "device": device.type,
            "code": code.digest("train"),
            "puzzles": identity(puzzles),
        }
        key = run_key(trained)
        state = paths.RESUME / f"{task}-{variant}-seed{seed}-{key}"
        steps = config.total_steps(len(puzzles) - config.validation)
        calls = steps * section.model.updates_per_segment * (2 if config.q_continue else 1)  # of f
        ranks = Ranks.join(device)
        _same_puzzles(ranks, key, device, paths.data(task, "train"))
        try:
            model, rows = fit(
                run,
                puzzles,
                device,
                state,
                params.runtime.save_every_seconds,
                label,
                compiles(compute, calls, device),
                ranks,
            )
        except (Diverged, CannotSave) as error:
            print(f"air: {label}: {error}", file=sys.stderr)
            return 1
        except PeerLost:
            os._exit(LOST)  # at once: a process group that has lost a member hangs on its way out
        except Stopped as error:
            if ranks.rank == 0:
                print(f"air: {label}: {error}", file=sys.stderr)
            return 130
        if ranks.rank == 0:
            if identity(puzzles) != trained["puzzles"]:
                RunState(state).remove()
                raise overwritten(paths.data(task, "train"))
            origin = {"task": task, "seed": seed, "train": trained["train"]}
            write_text(out / "training.csv", format_rows(rows))
            save_model(model, out / "model.safetensors", origin)
            RunState(state).remove()
        ranks.leave()
    return 0


def _same_puzzles(ranks: Ranks, key: str, device: torch.device, path: Path) -> None:
    """Raise a UserError if one process has read other puzzles than another."""
    keys = ranks.gather(torch.tensor([int(key[:15], 16)], device=device))
    if keys.unique().numel() > 1:
        raise overwritten(path)
