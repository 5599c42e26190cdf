"""rollout.json and rollout.npz: what z_L and z_H show, sub-step by sub-step."""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from air.results.record import Arrays, Count, Curve, Held, Maybe, MaybeEnds, Record, Share


class State(Record):
    """One state's boards over a rollout; the curves are means over puzzles.

    Per sub-step: ``cell_accuracy``, the share of cells equal to the label; ``undecided``, the share
    of cells that show the task's undecided token; ``margin``, the lead of the best token over the
    second in stablemax probability, on query cells. Per segment: ``distance``,
    ``|z - z before| / |z before|`` over the content, from the second on; ``exact_by_segment``, the
    share of boards right in every cell.

    ``undecided_overall`` is the mean of ``undecided`` over sub-steps, with a 95 % interval over
    puzzles; ``undecided_moves`` how many cells of a puzzle enter or leave that token from one
    sub-step to the next. Both count from the state's first update on: before it, z_H shows what
    its untrained initial value happens to decode to.
    """

    undecided_overall: Share
    undecided_overall_interval: MaybeEnds
    undecided_moves: Maybe
    cell_accuracy: Curve
    undecided: Curve
    margin: Curve
    distance: Curve
    exact_by_segment: Curve


class RolloutMeasures(Record):
    """The contents of rollout.json.

    ``agreement`` is the share of cells on which both states show the same token, per sub-step;
    ``margin_lead`` how far z_H's margin is above z_L's, over the sub-steps from z_H's first update
    on, with its 95 % interval over puzzles.
    """

    puzzles: Count
    segments: Count
    updates_per_segment: Count
    agreement: Curve
    margin_lead: Maybe
    margin_lead_interval: MaybeEnds
    z_L: State
    z_H: State

    def state(self, name: str) -> State:
        """The measures of ``z_L`` or ``z_H``."""
        return {"z_L": self.z_L, "z_H": self.z_H}[name]


@dataclass(frozen=True)
class Boards(Arrays):
    """The contents of rollout.npz, of the first N puzzles.

    What the states show after each of T sub-steps, ``z_L``, ``z_H`` (uint8 [N, T, S]); which cells
    of that break a rule of the task, ``violations_L``, ``violations_H`` (bool [N, T, S]);
    ``inputs``, ``labels`` (uint8 [N, S]).
    """

    z_L: Annotated[np.ndarray, Held("NTS")]
    z_H: Annotated[np.ndarray, Held("NTS")]
    violations_L: Annotated[np.ndarray, Held("NTS", "b")]
    violations_H: Annotated[np.ndarray, Held("NTS", "b")]
    inputs: Annotated[np.ndarray, Held("NS")]
    labels: Annotated[np.ndarray, Held("NS")]

    def of(self, level: str) -> tuple[np.ndarray, np.ndarray]:
        """The boards of state ``L`` or ``H``, and their violations: ``[N, T, S]`` both."""
        if level == "L":
            return self.z_L, self.violations_L
        return self.z_H, self.violations_H
