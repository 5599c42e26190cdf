"""Emergence: what the other probes measure, at snapshots of one training.

Each snapshot runs every puzzle three times: a normal rollout, in which boards, states and attention
are looked at together, and one with each state frozen.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import torch

from air.model.network import AIR
from air.probes import OutOfRange
from air.probes.attention_maps import (
    AttentionCapture,
    ContrastTally,
    captures_of,
    has_attention,
)
from air.probes.decoding import CPU, in_batches, within
from air.probes.freezing import FreezeTally
from air.probes.rollouts import LEVELS, RolloutTally
from air.probes.statistics import interval, rounded
from air.tasks.task import Puzzles


def emergence(
    snapshots: Iterable[tuple[int, AIR]],
    puzzles: Puzzles,
    segments: Sequence[int],
    memory_gib: float = 2.0,
    device: torch.device = CPU,
    label: str = "emergence",
) -> dict[str, Any]:
    """The contents of emergence.json: an entry for each of ``snapshots`` (step, model), in order.

    Every number is defined as in the probe that it comes from, over the same puzzles:
    :func:`~air.probes.rollouts.rollout`, :func:`~air.probes.attention_maps.attention` at
    ``segments`` (counted from 0) and :func:`~air.probes.freezing.freeze`. Each has its 95 %
    interval over puzzles (``interval``). Measures of a sub-step or segment are averaged over a
    puzzle's rollout: ``undecided`` and ``margin`` from the state's first update on, ``distance``
    from the second segment on, ``agreement`` over all sub-steps. ``exact_accuracy`` and
    ``cell_accuracy`` are of z_H's last board. ``contrast`` has, per class of query cell and
    neighbourhood, the mean over layers (``all_layers``) and each layer's; a model without attention
    has none.

    Raises:
        OutOfRange: a ValueError: the model has no such segment, or there are no puzzles.
    """
    if not segments:
        raise OutOfRange("segments: name at least one")
    entries = []
    for step, model in snapshots:
        within("segments", segments, 0, model.config.max_segments)
        found = _measured(model, puzzles, segments, memory_gib, device, f"{label} step {step:,}")
        entries.append({"step": step, **found})
    return {"puzzles": len(puzzles), "segments": list(segments), "snapshots": entries}


def _measured(
    model: AIR,
    puzzles: Puzzles,
    segments: Sequence[int],
    memory_gib: float,
    device: torch.device,
    label: str,
) -> dict[str, Any]:
    """The entry of one snapshot."""
    model, task = model.eval().to(device), puzzles.task
    rolled, looked = RolloutTally(model, puzzles), ContrastTally(model, puzzles)
    frozen = FreezeTally(model, puzzles)
    looked_at = segments if has_attention(model) else ()
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label, maps=True):
        fresh_capture = captures_of(model, task, inputs, labels)
        captures: dict[int, AttentionCapture] = {segment: fresh_capture() for segment in looked_at}
        shown = rolled.add(rows, inputs, labels, captures.get)
        for segment in looked_at:
            looked.add(rows, captures[segment])
        for name, (level, _) in frozen.conditions.items():
            boards = frozen.run(name, inputs) if level else shown
            frozen.add(rows, name, boards, labels)
    return {
        **_of_rollout(rolled),
        **({"contrast": _of_contrasts(looked)} if looked_at else {}),
        "effects": frozen.effects().content(),
    }


def _of_rollout(rolled: RolloutTally) -> dict[str, Any]:
    curves = rolled.curves
    margins = {level: rolled.margins(level) for level in LEVELS}
    lead = (margins["H"] - margins["L"])[:, rolled.first_update("H") :]
    found: dict[str, Any] = {
        "exact_accuracy": _mean(curves["exact_by_segment"]["H"][:, rolled.segments - 1]),
        "cell_accuracy": _mean(curves["cell_accuracy"]["H"][:, -1]),
        "agreement": _mean(rolled.agreement.mean(axis=1)),
        "margin_lead": _mean(lead.mean(axis=1)),
    }
    for level in LEVELS:
        first = rolled.first_update(level)
        found[f"z_{level}"] = {
            "undecided": _mean(curves["undecided"][level][:, first:].mean(axis=1)),
            "margin": _mean(margins[level][:, first:].mean(axis=1)),
            "distance": _mean(curves["distance"][level].mean(axis=1)),
        }
    return found


def _of_contrasts(looked: ContrastTally) -> dict[str, Any]:
    near = [f"d_{name}" for name in looked.puzzles.task.neighbourhoods]
    found = {class_: cells.content() for class_, cells in looked.measures().items()}
    return {
        class_: {"queries": of["queries"]}
        | {
            name: {key: of[name][key] for key in ("all_layers", "mean", "interval")}
            for name in near
        }
        for class_, of in found.items()
    }


def _mean(values: np.ndarray) -> dict[str, Any]:
    """Mean over puzzles ``[N]`` and its 95 % interval."""
    return {"mean": rounded(values.mean()), "interval": interval(values)}
