"""Claims about an effect that follows the side on which the input enters (X1, X2)."""

from collections.abc import Callable
from typing import ClassVar, TypeVar

import numpy as np

from air.reporting.claims.claim import (
    LEARNED,
    Finding,
    OfRun,
    Verdict,
    over_runs,
    share,
    tally,
)
from air.reporting.claims.picture import Picture, Row
from air.reporting.study import Run, Study
from air.results.attention import Overall
from air.results.record import Maybe, MaybeEnds

DETAILS = (
    "X1 and X2 are claims of this project. They compare variants that only add the input: where it "
    "enters asymmetrically the effect should lie beyond the threshold ``none``, elsewhere within "
    "it. They hold only with learned runs of both kinds (for X1, L-sided and H-sided variants "
    "count as two kinds)."
)


class Side(OfRun):
    """The effect in one run."""

    effect: Maybe
    interval: MaybeEnds


class Sides(Finding):
    """The effect in every probed run, under ``<variant> seed<number>``."""

    what: ClassVar[str]  #: is measured

    runs: dict[str, Side] | None = None

    def figures(self) -> str:
        return f"{self.what}: " + "; ".join(
            f"{run.replace('seed', 'seed ')} {_number(entry.effect)} "
            f"[{', '.join(_number(end) for end in entry.interval)}]"
            + ("" if entry.has_learned else " (has not learned)")
            for run, entry in (self.runs or {}).items()
        )

    def summary(self) -> str:
        return tally((self.runs or {}).values()) or self.evidence()

    def picture(self, what: str, none: float) -> list[Picture]:
        """A row for each variant, its runs in it."""
        rows: dict[str, list[Side]] = {}
        for run, entry in (self.runs or {}).items():
            rows.setdefault(run.split(" ")[0], []).append(entry)
        drawn = [
            Row(variant, [one.point(one.effect, one.interval) for one in entries])
            for variant, entries in rows.items()
        ]
        return [Picture(what, drawn, (-none, none))] if drawn else []


M = TypeVar("M")
S = TypeVar("S", bound=Sides)


def over_sides(
    form: type[S],
    study: Study,
    task: str,
    probed: dict[Run, M],
    effect: Callable[[M], Overall],
    none: float,
    mirrored: bool,
) -> S:
    """Whether each probed run's effect is as its variant's side says, and all of them together.

    Args:
        none: an effect within it counts as none.
        mirrored: H-sided variants should show the reverse of L-sided ones, not the same.
    """
    plain = study.members(task, "injection")
    entries: dict[str, Side] = {}
    kinds: set[int] = set()
    for (variant, seed), measures in probed.items():
        if variant not in plain:
            continue
        spec = study.variants[variant]
        side = int(np.sign(spec.n_L - spec.n_H)) if mirrored else int(spec.n_L != spec.n_H)
        found = effect(measures)
        solved = study.solved(task, (variant, seed))
        ends = [end for end in found.interval if end is not None]
        verdict: Verdict = "inconclusive"
        if len(ends) == 2 and solved > LEARNED:
            kinds.add(side)
            verdict = _beyond(ends, side, none) if side else _within(ends, none)
        entries[f"{variant} seed{seed}"] = Side(
            verdict=verdict, effect=found.mean, interval=found.interval, solved=share(solved)
        )
    if not entries:
        return form(verdict="not run")
    verdict = over_runs(entries.values())
    if len(kinds) < 2 and verdict == "holds":
        verdict = "inconclusive"  # nothing to compare with
    return form(verdict=verdict, runs=entries)


def _beyond(ends: list[float], side: int, none: float) -> Verdict:
    low, high = sorted(side * end for end in ends)
    if low > none:
        return "holds"
    return "fails" if high < none else "inconclusive"


def _within(ends: list[float], none: float) -> Verdict:
    low, high = ends
    if -none < low and high < none:
        return "holds"
    return "fails" if low > none or high < -none else "inconclusive"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:+.4f}"
