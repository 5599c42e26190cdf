"""Rollouts (claim C2): what z_L and z_H show, sub-step by sub-step."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from air.model.boards import stablemax
from air.model.layers import widen
from air.model.network import AIR, Level
from air.probes import OutOfRange
from air.probes.decoding import CPU, BoardRecorder, in_batches
from air.probes.statistics import curve, interval, rounded
from air.results.rollout import Boards, RolloutMeasures, State
from air.tasks.task import Puzzles

LEVELS: tuple[Level, ...] = ("L", "H")


@dataclass
class Rollout:
    """``measures`` is rollout.json; ``boards`` is rollout.npz."""

    measures: RolloutMeasures
    boards: Boards


class MarginRecorder(BoardRecorder):
    """Besides the boards, how far the best token leads the second on the query cells."""

    def __init__(self, model: AIR, query: Tensor) -> None:
        super().__init__(model)
        self.query = query  # bool [B, S]
        self.margins: dict[Level, list[Tensor]] = {"L": [], "H": []}

    def decoded(self, level: Level, logits: Tensor) -> None:
        best, second = stablemax(logits).topk(2, dim=-1).values.unbind(-1)
        lead = ((best - second) * self.query).sum(dim=1) / self.query.sum(dim=1)
        self.margins[level].append(lead)  # NaN for a puzzle without query cells

    def same(self, level: Level) -> None:
        self.margins[level].append(self.margins[level][-1])


class _PerPuzzle:
    """What is averaged in the end, per puzzle: by name and state ``[N, places]``."""

    def __init__(self, puzzles: int, segments: int, substeps: int, depth: int) -> None:
        self.curves = {
            name: {level: np.empty((puzzles, places)) for level in LEVELS}
            for name, places in (
                ("cell_accuracy", substeps),
                ("undecided", substeps),
                ("margin", substeps),
                ("distance", segments - 1),
                ("exact_by_segment", depth),
            )
        }
        self.moves = {level: np.empty((puzzles, substeps - 1)) for level in LEVELS}
        self.agreement = np.empty((puzzles, substeps))


@torch.inference_mode()
def rollout(
    model: AIR,
    puzzles: Puzzles,
    memory_gib: float = 2.0,
    device: torch.device = CPU,
    boards: int = 10,
    depth: int | None = None,
    label: str = "rollout",
) -> Rollout:
    """Decode both states after each sub-step of a full rollout.

    Means and standard errors are over puzzles; what is measured says
    :mod:`air.results.rollout`. The boards of the first ``boards`` puzzles are kept; accuracy per
    segment goes up to ``depth`` segments, the model's ``max_segments`` at least.

    Raises:
        OutOfRange: a ValueError: there are no puzzles, or no board is to be kept.
    """
    if boards < 1:
        raise OutOfRange(f"boards: {boards} is not allowed: keep those of one puzzle at least")
    model = model.eval().to(device)
    segments, updates = model.config.max_segments, model.config.updates_per_segment
    depth = max(depth or segments, segments)
    of = _PerPuzzle(len(puzzles), segments, segments * updates, depth)
    kept: dict[str, list[np.ndarray]] = {
        name: [] for name in ("z_L", "z_H", "violations_L", "violations_H")
    }
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label):
        query = puzzles.task.query_cells(puzzles.inputs[rows], puzzles.labels[rows])
        recorder = MarginRecorder(model, torch.from_numpy(query).to(device))
        _walk(model, inputs, labels, recorder, of, rows, depth)
        shown = {level: torch.stack(recorder.boards[level]) for level in LEVELS}
        _count(shown, labels, recorder, of, rows, puzzles.task.undecided_token)
        if rows.start < boards:
            for level, of_state in shown.items():
                first = of_state[:, : boards - rows.start].cpu().numpy()  # [T, B, S]
                answers = puzzles.labels[rows][: boards - rows.start]
                wrong = [puzzles.task.violations(of_substep, answers) for of_substep in first]
                kept[f"z_{level}"].append(first.swapaxes(0, 1))
                kept[f"violations_{level}"].append(np.stack(wrong, axis=1))
    first_puzzles = puzzles.first(boards)
    return Rollout(
        _measures(of, model),
        Boards(
            **{name: np.concatenate(batches) for name, batches in kept.items()},
            inputs=first_puzzles.inputs,
            labels=first_puzzles.labels,
        ),
    )


def _walk(
    model: AIR,
    inputs: Tensor,
    labels: Tensor,
    recorder: MarginRecorder,
    of: _PerPuzzle,
    rows: slice,
    depth: int,
) -> None:
    """Run a batch for ``depth`` segments: accuracy and distance by segment; boards as usual.

    The recorder watches the segments that the model has.
    """
    segments = model.config.max_segments
    x = model.embed(inputs)
    z = dict(zip(LEVELS, model.fresh_states(len(inputs)), strict=True))
    for segment in range(depth):
        before = {level: state[:, model.lead :] for level, state in z.items()}
        observer = recorder if segment < segments else None
        z["L"], z["H"] = model.segment(x, z["L"], z["H"], observer=observer)
        for level in LEVELS:
            right = model.decode(z[level]).argmax(dim=-1) == labels
            of.curves["exact_by_segment"][level][rows, segment] = right.all(dim=1).cpu()
            if 0 < segment < segments:
                old = widen(before[level]).flatten(1)
                step = widen(z[level][:, model.lead :]).flatten(1) - old
                moved = step.norm(dim=1) / old.norm(dim=1)
                of.curves["distance"][level][rows, segment - 1] = moved.cpu()


def _count(
    shown: dict[Level, Tensor],
    labels: Tensor,
    recorder: MarginRecorder,
    of: _PerPuzzle,
    rows: slice,
    undecided_token: int,
) -> None:
    """What the boards of a batch (``shown``, [T, B, S] per state) say at each sub-step."""
    of.agreement[rows] = _share(shown["L"] == shown["H"])
    for level, boards in shown.items():
        blank = boards == undecided_token
        of.curves["cell_accuracy"][level][rows] = (boards == labels).double().mean(dim=2).T.cpu()
        of.curves["undecided"][level][rows] = blank.double().mean(dim=2).T.cpu()
        of.curves["margin"][level][rows] = torch.stack(recorder.margins[level]).T.cpu()
        of.moves[level][rows] = (blank[1:] != blank[:-1]).sum(dim=2).T.cpu()


def _measures(of: _PerPuzzle, model: AIR) -> RolloutMeasures:
    """Means over puzzles."""
    config = model.config
    asked = ~np.isnan(of.curves["margin"]["H"][:, 0])  # puzzles with query cells
    of.curves["margin"] = {level: m[asked] for level, m in of.curves["margin"].items()}
    leads = of.curves["margin"]["H"] - of.curves["margin"]["L"]
    lead = leads[:, config.L_cycles :].mean(axis=1)

    def state(level: Level, first_update: int) -> State:
        overall = of.curves["undecided"][level][:, first_update:].mean(axis=1)
        return State(
            undecided_overall=rounded(overall.mean()),
            undecided_overall_interval=interval(overall),
            undecided_moves=rounded(of.moves[level][:, first_update:].mean()),
            **{name: curve(of_states[level]) for name, of_states in of.curves.items()},
        )

    return RolloutMeasures(
        puzzles=len(of.agreement),
        segments=config.max_segments,
        updates_per_segment=config.updates_per_segment,
        agreement=curve(of.agreement),
        margin_lead=rounded(lead.mean()),
        margin_lead_interval=interval(lead),
        z_L=state("L", 0),
        z_H=state("H", config.L_cycles),
    )


def _share(cells: Tensor) -> np.ndarray:
    """Share of True cells: bool [T, B, S] -> [B, T]."""
    counted: np.ndarray = cells.sum(dim=2).T.cpu().numpy() / cells.shape[2]
    return counted
