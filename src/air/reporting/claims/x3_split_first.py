"""X3: the split in attention comes before the solving."""

import math
from collections.abc import Callable, Iterable

import numpy as np

from air.reporting.claims.claim import (
    LEARNED,
    Claim,
    Finding,
    OfRun,
    Verdict,
    over_runs,
    over_tasks,
    share,
    tally,
)
from air.reporting.claims.picture import Picture, Point, Row
from air.reporting.claims.x1_input_sided import InputSided
from air.reporting.study import Study
from air.results.attention import Overall
from air.results.emergence import EmergenceMeasures
from air.results.record import Index, Record


class When(Record):
    """When something came, by intervals over puzzles, in steps of snapshots; None: never.

    ``possible`` is the first snapshot that does not rule it out, ``certain`` the first that shows
    it: it came after the snapshot before ``possible``, and by ``certain``.
    """

    possible: Index | None
    certain: Index | None

    def __str__(self) -> str:
        if self.possible is None:
            return "never"
        if self.certain is None:
            return f"perhaps from step {self.possible:,} on"
        if self.certain == 0:
            return "before training"
        perhaps = f" (perhaps by {self.possible:,})" if self.possible < self.certain else ""
        return f"by step {self.certain:,}{perhaps}"


def split_of(measures: EmergenceMeasures, band: float) -> When:
    """When the contrast of attention nearby left ``band`` around zero for good, to one side.

    It is over all layers and all query cells (``pooled``). The side is that of the last snapshot.
    """
    found = [snapshot.split for snapshot in measures.snapshots]
    side = -1 if (found[-1].mean or 0) < 0 else 1
    low, high = np.sort(side * _ends(found), axis=1).T
    # from a snapshot on: nothing after it says otherwise
    always = np.logical_and.accumulate((low > band)[::-1])[::-1]
    maybe = np.logical_and.accumulate((high > band)[::-1])[::-1]
    return When(possible=_first(measures, maybe), certain=_first(measures, always))


def reached(measures: EmergenceMeasures, least: float) -> When:
    """When exact accuracy first was above ``least``."""
    low, high = _ends([snapshot.exact_accuracy for snapshot in measures.snapshots]).T
    return When(possible=_first(measures, high > least), certain=_first(measures, low > least))


def _ends(found: Iterable[Overall]) -> np.ndarray:
    """Intervals ``[snapshots, 2]``; one that is not known rules nothing out."""
    ends = np.array([one.interval for one in found], dtype=float)
    return np.where(np.isnan(ends), [-np.inf, np.inf], ends)


def _first(measures: EmergenceMeasures, shown: np.ndarray) -> int | None:
    return measures.steps[int(shown.argmax())] if shown.any() else None


class Order(OfRun):
    """When the split came in one run, and when two shares of puzzles were solved."""

    split: When
    solved_some: When
    solved_half: When


class Found(Finding):
    """Every run that was looked at, under ``<variant> seed<number>``."""

    runs: dict[str, Order] | None = None

    def figures(self) -> str:
        return " ".join(
            f"{run.replace('seed', 'seed ')}: attention split {entry.split}, "
            f"{SplitFirst.some:.0%} solved {entry.solved_some}, "
            f"half of the final share {entry.solved_half}"
            + ("." if entry.has_learned else " (has not learned).")
            for run, entry in (self.runs or {}).items()
        )

    def summary(self) -> str:
        return tally((self.runs or {}).values()) or self.evidence()


class SplitFirst(Claim):
    number = "X3"
    own = True
    title = "The split in attention comes before the solving"
    statement = (
        "In the training of a model into which the input enters asymmetrically, L- and H-updates "
        "come to look in different places before the model solves puzzles."
    )
    tasks = ("sudoku", "maze")
    finding = Found
    #: X1's threshold of the same contrast, within which there is no split
    band = InputSided.none
    #: the share of puzzles that counts as solving some
    some = LEARNED
    #: the part of the last snapshot's accuracy that counts as half-way
    half = 0.5
    thresholds = ("band", "some", "half")
    rule = (
        "Holds in a run if the split is certain at a snapshot before the first at which either "
        "accuracy threshold may have been reached; fails if the split is ruled out at or after the "
        "first at which one has certainly been reached."
    )
    details = (
        "X3, also of this project, is about the order of events in training. It is decided in "
        "every run that has learned and was probed at snapshots, of a variant that only adds the "
        "input, and adds it asymmetrically: in others no split is expected. The split has come at "
        "the first snapshot from which on the attention nearby of L-updates, minus that of "
        "H-updates, lies beyond ``band`` on one side. It is taken over all layers and all query "
        "cells, since early in training a violation is near almost every cell, which leaves too "
        "few of the control cells of C5 and X1. Solving has come at the first snapshot above the "
        "share ``some`` of puzzles, half-way at the first above the part ``half`` of the last "
        "snapshot's share. A snapshot shows an event if its whole interval over puzzles lies "
        "beyond the threshold, and rules it out if the whole interval does not. The claim holds in "
        "a run if the split is shown by an earlier snapshot than the first that does not rule out "
        "solving or half-way. It fails if a snapshot rules the split out at or after the first "
        "that shows either. Two events first seen at the same snapshot cannot be ordered, even at "
        "the first snapshot after step 0; if that snapshot shows the split and rules the others "
        "out, the split came first. A split that step 0 shows, before training, decides nothing. "
        "X3 holds if it holds in all of these runs, and fails if it fails in more than half."
    )

    def judge(self, study: Study, task: str) -> Found:
        """In each run, both shares are reached after the split."""
        plain = study.members(task, "injection")
        entries: dict[str, Order] = {}
        for (variant, seed), measures in study.emergences(task).items():
            if variant not in plain or not measures.nearest:
                continue
            spec = study.variants[variant]
            if spec.n_L == spec.n_H:
                continue
            solved = study.solved(task, (variant, seed))
            found = self.order(measures, self.band[task])
            changed: dict[str, object] = {"solved": share(solved)}
            if not solved > LEARNED:
                changed["verdict"] = "inconclusive"
            entries[f"{variant} seed{seed}"] = found.model_copy(update=changed)
        if not entries:
            return Found(verdict="not run")
        return Found(verdict=over_runs(entries.values()), runs=entries)

    def pictures(self, task: str, found: Found) -> list[Picture]:
        """A row for each event and variant: the step by which it came for certain in each run."""
        events: dict[str, Callable[[Order], When]] = {
            "split": lambda entry: entry.split,
            f"{self.some:.0%} solved": lambda entry: entry.solved_some,
            "half solved": lambda entry: entry.solved_half,
        }
        rows: dict[str, list[Point]] = {}
        for run, entry in (found.runs or {}).items():
            for event, when in events.items():
                row = rows.setdefault(f"{run.split(' ')[0]}, {event}", [])
                row.append(_point(when(entry), entry.has_learned))
        drawn = [Row(name, points) for name, points in rows.items()]
        return [Picture("optimiser steps", drawn, logarithmic=True)] if drawn else []

    def order(self, measures: EmergenceMeasures, band: float) -> Order:
        """What came when in one run, and in which order."""
        split = split_of(measures, band)
        final = measures.snapshots[-1].exact_accuracy.mean or 0
        some, half = reached(measures, self.some), reached(measures, self.half * final)
        return Order(
            verdict=over_tasks([_before(split, some), _before(split, half)]),
            split=split,
            solved_some=some,
            solved_half=half,
        )


def _before(split: When, solved: When) -> Verdict:
    """Whether the split came first; snapshots that show both for the first time do not tell."""
    too_late = solved.certain is not None and (
        split.possible is None or split.possible > solved.certain
    )
    if too_late:
        return "fails"
    if split.certain is None or solved.possible is None:
        return "inconclusive"
    trained = split.certain > 0  # else training did not bring it
    return "holds" if trained and split.certain < solved.possible else "inconclusive"


def _point(when: When, decides: bool) -> Point:
    if when.possible is None:
        return Point(None, None, decides)
    end = math.inf if when.certain is None else when.certain
    return Point(when.certain, (when.possible, end), decides)
