"""Rollouts (claim C2): what z_L and z_H show, sub-step by sub-step."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from air.model.boards import stablemax
from air.model.layers import widen
from air.model.network import AIR, Level, Observer
from air.probes import OutOfRange
from air.probes.decoding import CPU, BoardRecorder, Together, in_batches
from air.probes.statistics import curve, interval, mean, rounded
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

    Means and standard errors are over puzzles; :mod:`air.results.rollout` defines the
    measures. The boards of the first ``boards`` puzzles are kept; accuracy per
    segment goes up to ``depth`` segments, the model's ``max_segments`` at least.

    Raises:
        OutOfRange: a ValueError: there are no puzzles, or no board is to be kept.
    """
    if boards < 1:
        raise OutOfRange(f"boards: {boards} is not allowed: keep those of one puzzle at least")
    model = model.eval().to(device)
    tally = RolloutTally(model, puzzles, depth)
    kept: dict[str, list[np.ndarray]] = {
        name: [] for name in ("z_L", "z_H", "violations_L", "violations_H")
    }
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label):
        shown = tally.add(rows, inputs, labels)
        if rows.start >= boards:
            continue
        answers = puzzles.labels[rows][: boards - rows.start]
        for level, of_state in shown.items():
            first = of_state[:, : boards - rows.start].cpu().numpy()  # [T, B, S]
            wrong = [puzzles.task.violations(of_substep, answers) for of_substep in first]
            kept[f"z_{level}"].append(first.swapaxes(0, 1))
            kept[f"violations_{level}"].append(np.stack(wrong, axis=1))
    first_puzzles = puzzles.first(boards)
    return Rollout(
        tally.measures(),
        Boards(
            **{name: np.concatenate(batches) for name, batches in kept.items()},
            inputs=first_puzzles.inputs,
            labels=first_puzzles.labels,
        ),
    )


class RolloutTally:
    """What full rollouts show, collected batch by batch: every measure per puzzle.

    ``curves`` holds, by measure and state, ``[N, sub-steps or segments]``; ``moves`` the cells that
    enter or leave the undecided token, ``[N, T - 1]`` of each state; ``agreement`` is ``[N, T]``.
    See :func:`rollout` for what they are.
    """

    def __init__(self, model: AIR, puzzles: Puzzles, depth: int | None = None) -> None:
        self.model, self.puzzles = model, puzzles
        config, n = model.config, len(puzzles)
        self.segments = config.max_segments
        self.depth = max(depth or self.segments, self.segments)
        substeps = self.segments * config.updates_per_segment
        self.curves = {
            name: {level: np.empty((n, steps)) for level in LEVELS}
            for name, steps in (
                ("cell_accuracy", substeps),
                ("undecided", substeps),
                ("margin", substeps),
                ("distance", self.segments - 1),
                ("exact_by_segment", self.depth),
            )
        }
        self.moves = {level: np.empty((n, substeps - 1)) for level in LEVELS}
        self.agreement = np.empty((n, substeps))

    @torch.inference_mode()
    def add(
        self,
        rows: slice,
        inputs: Tensor,
        labels: Tensor,
        beside: Callable[[int], Observer | None] = lambda segment: None,
    ) -> dict[Level, Tensor]:
        """Run the puzzles ``rows`` (boards [B, S]); what both states show, uint8 [T, B, S].

        ``beside`` may give an observer of a segment (from 0) that is to see the same rollout.
        """
        device, lead = inputs.device, self.model.lead
        query = self.puzzles.task.query_cells(self.puzzles.inputs[rows], self.puzzles.labels[rows])
        recorder = MarginRecorder(self.model, torch.from_numpy(query).to(device))
        x = self.model.embed(inputs)
        z = dict(zip(LEVELS, self.model.fresh_states(len(inputs)), strict=True))
        for segment in range(self.depth):
            before = {level: state[:, lead:] for level, state in z.items()}
            observer = Together(recorder, beside(segment)) if segment < self.segments else None
            z["L"], z["H"] = self.model.segment(x, z["L"], z["H"], observer=observer)
            for level in LEVELS:
                right = self.model.decode(z[level]).argmax(dim=-1) == labels
                self.curves["exact_by_segment"][level][rows, segment] = right.all(dim=1).cpu()
                if 0 < segment < self.segments:
                    old = widen(before[level]).flatten(1)
                    step = widen(z[level][:, lead:]).flatten(1) - old
                    moved = step.norm(dim=1) / old.norm(dim=1)
                    self.curves["distance"][level][rows, segment - 1] = moved.cpu()
        shown = {level: torch.stack(recorder.boards[level]) for level in LEVELS}
        self._count(rows, shown, labels)
        for level in LEVELS:
            margins = torch.stack(recorder.margins[level]).T
            self.curves["margin"][level][rows] = margins.cpu()
        return shown

    def _count(self, rows: slice, shown: dict[Level, Tensor], labels: Tensor) -> None:
        self.agreement[rows] = _share(shown["L"] == shown["H"])
        for level, of_state in shown.items():
            blank = of_state == self.puzzles.task.undecided_token
            right = (of_state == labels).double()
            self.curves["cell_accuracy"][level][rows] = right.mean(dim=2).T.cpu()
            self.curves["undecided"][level][rows] = blank.double().mean(dim=2).T.cpu()
            self.moves[level][rows] = (blank[1:] != blank[:-1]).sum(dim=2).T.cpu()

    def first_update(self, level: Level) -> int:
        """The sub-step of a state's first update: before it, it shows its initial value."""
        return 0 if level == "L" else self.model.config.L_cycles

    def margins(self, level: Level) -> np.ndarray:
        """The margins of the puzzles that have query cells, ``[puzzles, T]``."""
        known = ~np.isnan(self.curves["margin"]["H"][:, 0])
        found: np.ndarray = self.curves["margin"][level][known]
        return found

    def measures(self) -> RolloutMeasures:
        """The contents of rollout.json."""
        lead = (self.margins("H") - self.margins("L"))[:, self.first_update("H") :].mean(axis=1)
        return RolloutMeasures(
            puzzles=len(self.puzzles),
            segments=self.segments,
            updates_per_segment=self.model.config.updates_per_segment,
            agreement=curve(self.agreement),
            margin_lead=mean(lead),
            margin_lead_interval=interval(lead),
            z_L=self._state("L"),
            z_H=self._state("H"),
        )

    def _state(self, level: Level) -> State:
        first = self.first_update(level)
        overall = self.curves["undecided"][level][:, first:].mean(axis=1)
        curves = {name: of_states[level] for name, of_states in self.curves.items()}
        curves["margin"] = self.margins(level)
        return State(
            undecided_overall=rounded(overall.mean()),
            undecided_overall_interval=interval(overall),
            undecided_moves=rounded(self.moves[level][:, first:].mean()),
            **{name: curve(values) for name, values in curves.items()},
        )


def _share(cells: Tensor) -> np.ndarray:
    """Share of True cells: bool [T, B, S] -> [B, T]."""
    counted: np.ndarray = cells.sum(dim=2).T.cpu().numpy() / cells.shape[2]
    return counted
