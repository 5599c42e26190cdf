"""Emergence: what the other probes measure, at snapshots of one training.

Each snapshot runs every puzzle three times: a normal rollout, in which boards, states and attention
are looked at together, and one with each state frozen.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from air.model.network import AIR, Level
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
from air.probes.statistics import interval, mean
from air.results.attention import Cells, Overall
from air.results.emergence import (
    CellsAt,
    ContrastAt,
    Contrasts,
    EmergenceMeasures,
    Snapshot,
    StateAt,
    Strip,
)
from air.tasks.task import Puzzles


@dataclass
class Emergence:
    """``measures`` is emergence.json; ``boards`` is emergence.npz."""

    measures: EmergenceMeasures
    boards: Strip


def emergence(
    snapshots: Iterable[tuple[int, AIR]],
    puzzles: Puzzles,
    segments: Sequence[int],
    memory_gib: float = 2.0,
    device: torch.device = CPU,
    label: str = "emergence",
) -> Emergence:
    """The measures of each of ``snapshots`` (step, model), in order, and one puzzle's boards.

    Every number is defined as in the probe that it comes from, over the same puzzles:
    :func:`~air.probes.rollouts.rollout`, :func:`~air.probes.attention_maps.attention` at
    ``segments`` (counted from 0) and :func:`~air.probes.freezing.freeze`; see
    :mod:`air.results.emergence` for which averages are taken. The boards are those of
    the first puzzle.

    Raises:
        OutOfRange: a ValueError: the model has no such segment, or there are no puzzles.
    """
    if not segments:
        raise OutOfRange("segments: name at least one")
    entries: list[Snapshot] = []
    ends: dict[Level, list[np.ndarray]] = {level: [] for level in LEVELS}
    for step, model in snapshots:
        within("segments", segments, 0, model.config.max_segments)
        rolled, looked, frozen, shown = _measured(
            model, puzzles, segments, memory_gib, device, f"{label} step {step:,}"
        )
        entries.append(_snapshot(step, rolled, looked, frozen))
        for level in LEVELS:
            ends[level].append(shown[level])
    first = puzzles.first(1)
    broken = {
        level: np.stack([puzzles.task.violations(board[None], first.labels)[0] for board in boards])
        for level, boards in ends.items()
    }
    return Emergence(
        EmergenceMeasures(puzzles=len(puzzles), segments=list(segments), snapshots=entries),
        Strip(
            z_L=np.stack(ends["L"])[None],
            z_H=np.stack(ends["H"])[None],
            violations_L=broken["L"][None],
            violations_H=broken["H"][None],
            inputs=first.inputs,
            labels=first.labels,
        ),
    )


def _measured(
    model: AIR,
    puzzles: Puzzles,
    segments: Sequence[int],
    memory_gib: float,
    device: torch.device,
    label: str,
) -> tuple[RolloutTally, ContrastTally, FreezeTally, dict[Level, np.ndarray]]:
    """What one snapshot does, and the last boards (uint8 [S]) of the first puzzle."""
    model, task = model.eval().to(device), puzzles.task
    rolled, looked = RolloutTally(model, puzzles), ContrastTally(model, puzzles)
    frozen = FreezeTally(model, puzzles)
    looked_at = segments if has_attention(model) else ()
    last: dict[Level, np.ndarray] = {}
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label, maps=True):
        fresh_capture = captures_of(model, task, inputs, labels)
        captures: dict[int, AttentionCapture] = {segment: fresh_capture() for segment in looked_at}
        shown = rolled.add(rows, inputs, labels, captures.get)
        last = last or {level: boards[-1, 0].cpu().numpy() for level, boards in shown.items()}
        for segment in looked_at:
            looked.add(rows, captures[segment])
        for name, (level, _) in frozen.conditions.items():
            boards = frozen.run(name, inputs) if level else shown
            frozen.add(rows, name, boards, labels)
    return rolled, looked, frozen, last


def _snapshot(
    step: int, rolled: RolloutTally, looked: ContrastTally, frozen: FreezeTally
) -> Snapshot:
    curves = rolled.curves
    margins = {level: rolled.margins(level) for level in LEVELS}
    lead = (margins["H"] - margins["L"])[:, rolled.first_update("H") :]

    def state(level: Level) -> StateAt:
        first = rolled.first_update(level)
        return StateAt(
            undecided=_mean(curves["undecided"][level][:, first:].mean(axis=1)),
            margin=_mean(margins[level][:, first:].mean(axis=1)),
            distance=_mean(curves["distance"][level].mean(axis=1)),
        )

    near = [f"d_{name}" for name in looked.puzzles.task.neighbourhoods]
    contrast: dict[str, Contrasts] = {}
    if has_attention(rolled.model):
        contrast["contrast"] = Contrasts(
            **{name: _contrasts(cells, near) for name, cells in looked.measures().items()},
            pooled=_contrasts(looked.pooled(), near),
        )
    return Snapshot(
        step=step,
        exact_accuracy=_mean(curves["exact_by_segment"]["H"][:, rolled.segments - 1]),
        cell_accuracy=_mean(curves["cell_accuracy"]["H"][:, -1]),
        agreement=_mean(rolled.agreement.mean(axis=1)),
        margin_lead=_mean(lead.mean(axis=1)),
        z_L=state("L"),
        z_H=state("H"),
        effects=frozen.effects(),
        **contrast,
    )


def _contrasts(cells: Cells, near: Sequence[str]) -> CellsAt:
    """Those on neighbourhoods, without what the figures have no use for."""
    found = {name: cells.contrasts[name] for name in near}
    return CellsAt(
        queries=cells.queries,
        **{
            name: ContrastAt(all_layers=of.all_layers, mean=of.mean, interval=of.interval)
            for name, of in found.items()
        },
    )


def _mean(values: np.ndarray) -> Overall:
    """Mean over puzzles ``[N]`` and its 95 % interval."""
    return Overall(mean=mean(values), interval=interval(values))
