"""Rollouts (claim C2): what z_L and z_H show, sub-step by sub-step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from air.model.network import AIR
from air.probes.decoding import decoded_rollout, in_batches
from air.probes.statistics import bootstrap, mean_se, rounded
from air.tasks.task import Puzzles


@dataclass
class Rollout:
    """``measures`` is rollout.json; ``boards`` (uint8) is rollout.npz."""

    measures: dict[str, Any]
    boards: dict[str, np.ndarray]


def rollout(
    model: AIR,
    puzzles: Puzzles,
    batch_size: int,
    device: torch.device,
    boards: int = 10,
    label: str = "rollout",
) -> Rollout:
    """Decode both states after each sub-step of a full rollout.

    Per sub-step and state, as means and standard errors over puzzles: ``cell_accuracy``, the share
    of cells equal to the label, and ``undecided``, the share of cells that show the task's
    undecided token. ``undecided_overall`` is its mean over sub-steps with a 95 % interval over
    puzzles; ``undecided_moves`` how many cells of a puzzle enter or leave that token from one
    sub-step to the next. Both count from the state's first update on: before it, z_H shows what
    its untrained initial value happens to decode to.
    """
    model = model.eval().to(device)
    segments = model.config.max_segments
    substeps = segments * model.config.updates_per_segment
    accuracy = {level: np.empty((len(puzzles), substeps)) for level in ("L", "H")}
    undecided = {level: np.empty((len(puzzles), substeps)) for level in ("L", "H")}
    moves = {level: np.empty((len(puzzles), substeps - 1)) for level in ("L", "H")}
    kept: dict[str, list[np.ndarray]] = {"L": [], "H": []}
    for rows, inputs, labels in in_batches(puzzles, batch_size, device, label):
        for level, shown in decoded_rollout(model, inputs, segments).items():
            blank = shown == puzzles.task.undecided_token
            accuracy[level][rows] = (shown == labels).double().mean(dim=2).T.cpu()
            undecided[level][rows] = blank.double().mean(dim=2).T.cpu()
            moves[level][rows] = (blank[1:] != blank[:-1]).double().sum(dim=2).T.cpu()
            if rows.start < boards:
                kept[level].append(shown[:, : boards - rows.start].transpose(0, 1).cpu().numpy())
    measures: dict[str, Any] = {
        "puzzles": len(puzzles),
        "segments": segments,
        "updates_per_segment": model.config.updates_per_segment,
    }
    for level, first_update in (("L", 0), ("H", model.config.L_cycles)):
        overall = undecided[level][:, first_update:].mean(axis=1)
        measures[f"z_{level}"] = {
            "undecided_overall": rounded(overall.mean()),
            "undecided_overall_interval": rounded(bootstrap(overall, np.ones_like(overall))),
            "undecided_moves": rounded(moves[level][:, first_update:].mean()),
            "cell_accuracy": mean_se(accuracy[level]),
            "undecided": mean_se(undecided[level]),
        }
    first = puzzles.first(boards)
    return Rollout(
        measures,
        {
            "z_L": np.concatenate(kept["L"]),
            "z_H": np.concatenate(kept["H"]),
            "inputs": first.inputs,
            "labels": first.labels,
        },
    )
