"""Freezing (claim C3): what one state does when the other keeps its initial value."""

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from air.model.network import AIR, Level
from air.probes.decoding import decoded_rollout, in_batches
from air.probes.statistics import bootstrap, mean_se, rounded
from air.tasks.task import Puzzles

CONDITIONS: dict[str, Level | None] = {"normal": None, "freeze_H": "H", "freeze_L": "L"}
KINDS = ("mask_flips", "content_changes", "token_changes")


class Changes(NamedTuple):
    """Cells that change between consecutive boards, ``[T - 1, B]`` each.

    A mask flip enters or leaves the task's mask token; a token change is any change; a content
    change is a token change without a mask flip.
    """

    mask_flips: Tensor
    content_changes: Tensor
    token_changes: Tensor


def count_changes(boards: Tensor, mask_token: int) -> Changes:
    """Count changes in decoded boards ``[T, B, S]``."""
    masked = boards == mask_token
    flips = masked[1:] != masked[:-1]
    changes = boards[1:] != boards[:-1]
    return Changes(*(kind.sum(dim=2) for kind in (flips, changes & ~flips, changes)))


def freeze(
    model: AIR, puzzles: Puzzles, batch_size: int, device: torch.device, label: str = "freeze"
) -> dict[str, Any]:
    """The contents of freeze.json: three rollouts (normal, z_H frozen, z_L frozen) per puzzle.

    Per condition and state: each kind of change, summed over a rollout's transitions, as mean and
    standard error over puzzles, its mean per transition, and the exact accuracy of the last board.
    ``effects`` compares the moving state with the normal rollout, puzzle by puzzle: the difference
    of content changes with its 95 % interval over puzzles.
    """
    model = model.eval().to(device)
    segments = model.config.max_segments
    transitions = segments * model.config.updates_per_segment - 1
    shape = (len(CONDITIONS), 2, len(KINDS), len(puzzles), transitions)
    changes = np.zeros(shape, dtype=np.int32)
    exact = np.zeros((len(CONDITIONS), 2, len(puzzles)), dtype=bool)
    for rows, inputs, labels in in_batches(puzzles, batch_size, device, label):
        for c, frozen in enumerate(CONDITIONS.values()):
            shown = decoded_rollout(model, inputs, segments, frozen)
            for s, boards in enumerate((shown["L"], shown["H"])):
                counted = count_changes(boards, puzzles.task.mask_token)
                for k, count in enumerate(counted):
                    changes[c, s, k, rows] = count.T.cpu()
                exact[c, s, rows] = (boards[-1] == labels).all(dim=1).cpu()
    totals = changes.sum(axis=-1)
    measures: dict[str, Any] = {"puzzles": len(puzzles), "transitions": transitions}
    for c, condition in enumerate(CONDITIONS):
        measures[condition] = {}
        for s, state in enumerate(("z_L", "z_H")):
            entry: dict[str, Any] = {"exact_accuracy": rounded(exact[c, s].mean())}
            for k, kind in enumerate(KINDS):
                entry[kind] = mean_se(totals[c, s, k])
                entry[kind]["per_transition"] = rounded(changes[c, s, k].mean(axis=0))
            measures[condition][state] = entry
    content = totals[:, :, KINDS.index("content_changes")].astype(np.float64)
    effects = {}
    for condition, state, c, s in (("freeze_H", "z_L", 1, 0), ("freeze_L", "z_H", 2, 1)):
        difference = content[c, s] - content[0, s]
        effects[condition] = {
            "state": state,
            "content_changes": rounded(difference.mean()),
            "interval": rounded(bootstrap(difference, np.ones_like(difference))),
        }
    measures["effects"] = effects
    return measures
