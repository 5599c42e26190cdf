"""Freezing (claim C3): what one state does when the other keeps its initial value."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from air.model.network import AIR, Level
from air.probes.decoding import CPU, decoded_rollout, in_batches, within
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


class Condition(NamedTuple):
    """Which state keeps its value (None: neither), and from which segment on."""

    frozen: Level | None
    begin: int


@torch.inference_mode()
def freeze(
    model: AIR,
    puzzles: Puzzles,
    memory_gib: float = 2.0,
    device: torch.device = CPU,
    later: Sequence[int] = (),
    label: str = "freeze",
) -> dict[str, Any]:
    """The contents of freeze.json: one rollout per condition and puzzle.

    ``normal``, ``freeze_H`` and ``freeze_L`` (from the start), and ``freeze_H_from_k``,
    ``freeze_L_from_k`` for every segment k of ``later``. Per condition and state: each kind of
    change, summed over a rollout's transitions, as mean and standard error over puzzles, its mean
    per transition, and the exact accuracy of the last board. ``effects`` compares the moving state
    with the normal rollout, puzzle by puzzle and from segment k on: the differences of content
    changes (``interval``: 95 % over puzzles) and of mask flips (``mask_flips_interval``).

    Raises:
        OutOfRange: a ValueError: ``later`` names a segment that is not from 1 to the model's last,
            or there are no puzzles.
    """
    model = model.eval().to(device)
    conditions = {name: Condition(level, 0) for name, level in CONDITIONS.items()}
    for k in later:
        conditions |= {f"freeze_{level}_from_{k}": Condition(level, k) for level in ("H", "L")}
    segments, updates = model.config.max_segments, model.config.updates_per_segment
    within("later", later, 1, segments)
    transitions = segments * updates - 1
    shape = (len(conditions), 2, len(KINDS), len(puzzles), transitions)
    changes = np.zeros(shape, dtype=np.uint16)
    exact = np.zeros((len(conditions), 2, len(puzzles)), dtype=bool)
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label):
        for c, (frozen, begin) in enumerate(conditions.values()):
            shown = decoded_rollout(model, inputs, segments, frozen, begin)
            for s, boards in enumerate((shown["L"], shown["H"])):
                counted = count_changes(boards, puzzles.task.mask_token)
                for k, count in enumerate(counted):
                    changes[c, s, k, rows] = count.T.cpu()
                exact[c, s, rows] = (boards[-1] == labels).all(dim=1).cpu()
    measures: dict[str, Any] = {"puzzles": len(puzzles), "transitions": transitions}
    effects: dict[str, Any] = {}
    for c, (name, (frozen, begin)) in enumerate(conditions.items()):
        measures[name] = {}
        for s, state in enumerate(("z_L", "z_H")):
            entry: dict[str, Any] = {"exact_accuracy": rounded(exact[c, s].mean())}
            for k, kind in enumerate(KINDS):
                entry[kind] = mean_se(changes[c, s, k].sum(axis=-1))
                entry[kind]["per_transition"] = rounded(changes[c, s, k].mean(axis=0))
            measures[name][state] = entry
        if frozen is None:
            continue
        s = 0 if frozen == "H" else 1
        # transition t leads from sub-step t to t + 1; the first that freezing can change
        first = max(begin * updates - 1, 0)
        moved = changes[c, s, :, :, first:].sum(axis=-1).astype(np.float64)
        difference = moved - changes[0, s, :, :, first:].sum(axis=-1)
        flips, content = (difference[KINDS.index(k)] for k in ("mask_flips", "content_changes"))
        effects[name] = {
            "state": ("z_L", "z_H")[s],
            "from_segment": begin,
            "content_changes": rounded(content.mean()),
            "interval": rounded(bootstrap(content, np.ones_like(content))),
            "mask_flips": rounded(flips.mean()),
            "mask_flips_interval": rounded(bootstrap(flips, np.ones_like(flips))),
        }
    measures["effects"] = effects
    return measures
