"""Rollouts (claim C2): what z_L and z_H show, sub-step by sub-step."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from air.model.boards import stablemax
from air.model.layers import widen
from air.model.network import AIR, Level
from air.probes import OutOfRange
from air.probes.decoding import CPU, BoardRecorder, in_batches
from air.probes.statistics import bootstrap, mean_se, rounded
from air.tasks.task import Puzzles

LEVELS: tuple[Level, ...] = ("L", "H")


@dataclass
class Rollout:
    """``measures`` is rollout.json; ``boards`` is rollout.npz.

    ``boards`` holds of the first N puzzles ``inputs``, ``labels`` [N, S]; what the states show
    after each of T sub-steps, ``z_L``, ``z_H`` (uint8 [N, T, S]); and which cells of that break a
    rule of the task, ``violations_L``, ``violations_H`` (bool [N, T, S]).
    """

    measures: dict[str, Any]
    boards: dict[str, np.ndarray]


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

    Means and standard errors over puzzles. Per sub-step and state: ``cell_accuracy``, the share of
    cells equal to the label; ``undecided``, the share of cells that show the task's undecided
    token; ``margin``, the lead of the best token over the second in stablemax probability, on query
    cells. Per sub-step: ``agreement``, the share of cells on which both states show the same token.
    Per segment and state: ``distance``, ``|z - z before| / |z before|`` over the content, from
    the second segment on; ``exact_by_segment``, the share of boards right in every cell, up to
    ``depth`` segments.

    ``undecided_overall`` is the mean of ``undecided`` over sub-steps with a 95 % interval over
    puzzles; ``undecided_moves`` how many cells of a puzzle enter or leave that token from one
    sub-step to the next. Both count from the state's first update on: before it, z_H shows what
    its untrained initial value happens to decode to. ``margin_lead`` is how far z_H's margin is
    above z_L's, over the sub-steps from z_H's first update on, with its interval over puzzles.

    Raises:
        OutOfRange: a ValueError: there are no puzzles, or no board is to be kept.
    """
    if boards < 1:
        raise OutOfRange(f"boards: {boards} is not allowed: keep those of one puzzle at least")
    model = model.eval().to(device)
    segments, updates = model.config.max_segments, model.config.updates_per_segment
    depth = max(depth or segments, segments)
    substeps, task, n = segments * updates, puzzles.task, len(puzzles)
    curves = {
        name: {level: np.empty((n, steps)) for level in LEVELS}
        for name, steps in (
            ("cell_accuracy", substeps),
            ("undecided", substeps),
            ("margin", substeps),
            ("distance", segments - 1),
            ("exact_by_segment", depth),
        )
    }
    moves = {level: np.empty((n, substeps - 1)) for level in LEVELS}
    agreement = np.empty((n, substeps))
    kept: dict[str, list[np.ndarray]] = {
        "z_L": [],
        "z_H": [],
        "violations_L": [],
        "violations_H": [],
    }
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label):
        query = task.query_cells(puzzles.inputs[rows], puzzles.labels[rows])
        recorder = MarginRecorder(model, torch.from_numpy(query).to(device))
        x = model.embed(inputs)
        z = dict(zip(LEVELS, model.fresh_states(len(inputs)), strict=True))
        for segment in range(depth):
            before = {level: state[:, model.lead :] for level, state in z.items()}
            observer = recorder if segment < segments else None
            z["L"], z["H"] = model.segment(x, z["L"], z["H"], observer=observer)
            for level in LEVELS:
                right = model.decode(z[level]).argmax(dim=-1) == labels
                curves["exact_by_segment"][level][rows, segment] = right.all(dim=1).cpu()
                if 0 < segment < segments:
                    old = widen(before[level]).flatten(1)
                    step = widen(z[level][:, model.lead :]).flatten(1) - old
                    moved = step.norm(dim=1) / old.norm(dim=1)
                    curves["distance"][level][rows, segment - 1] = moved.cpu()
        shown = {level: torch.stack(recorder.boards[level]) for level in LEVELS}
        agreement[rows] = _share(shown["L"] == shown["H"])
        for level, of_state in shown.items():
            blank = of_state == task.undecided_token
            curves["cell_accuracy"][level][rows] = (of_state == labels).double().mean(dim=2).T.cpu()
            curves["undecided"][level][rows] = blank.double().mean(dim=2).T.cpu()
            curves["margin"][level][rows] = torch.stack(recorder.margins[level]).T.cpu()
            moves[level][rows] = (blank[1:] != blank[:-1]).sum(dim=2).T.cpu()
            if rows.start < boards:
                first = of_state[:, : boards - rows.start].cpu().numpy()  # [T, B, S]
                answers = puzzles.labels[rows][: boards - rows.start]
                wrong = [task.violations(of_substep, answers) for of_substep in first]
                kept[f"z_{level}"].append(first.swapaxes(0, 1))
                kept[f"violations_{level}"].append(np.stack(wrong, axis=1))
    asked = ~np.isnan(curves["margin"]["H"][:, 0])  # puzzles with query cells
    curves["margin"] = {level: of_state[asked] for level, of_state in curves["margin"].items()}
    leads = curves["margin"]["H"] - curves["margin"]["L"]
    lead = leads[:, model.config.L_cycles :].mean(axis=1)
    measures: dict[str, Any] = {
        "puzzles": n,
        "segments": segments,
        "updates_per_segment": updates,
        "agreement": mean_se(agreement),
        "margin_lead": rounded(lead.mean()),
        "margin_lead_interval": rounded(bootstrap(lead, np.ones_like(lead))),
    }
    for level, first_update in (("L", 0), ("H", model.config.L_cycles)):
        overall = curves["undecided"][level][:, first_update:].mean(axis=1)
        measures[f"z_{level}"] = {
            "undecided_overall": rounded(overall.mean()),
            "undecided_overall_interval": rounded(bootstrap(overall, np.ones_like(overall))),
            "undecided_moves": rounded(moves[level][:, first_update:].mean()),
            **{name: mean_se(curve[level]) for name, curve in curves.items()},
        }
    first_puzzles = puzzles.first(boards)
    return Rollout(
        measures,
        {
            **{name: np.concatenate(batches) for name, batches in kept.items()},
            "inputs": first_puzzles.inputs,
            "labels": first_puzzles.labels,
        },
    )


def _share(cells: Tensor) -> np.ndarray:
    """Share of True cells: bool [T, B, S] -> [B, T]."""
    counted: np.ndarray = cells.sum(dim=2).T.cpu().numpy() / cells.shape[2]
    return counted
