"""C6: the operator by which the input enters matters little."""

from pydantic import ConfigDict

from air.reporting.claims.claim import PROBED, Claim, Finding, Verdict, over_tasks, percent
from air.reporting.claims.groups import (
    Group,
    group,
    if_converged,
    judged_in,
    learned_or_not,
    regime_of,
)
from air.reporting.claims.picture import Picture, Point, Row
from air.reporting.comparisons import Regime, contrast
from air.reporting.study import Study


class Found(Finding):
    """Exact accuracy of Lx_H, and of each other operator with its difference from it."""

    model_config = ConfigDict(extra="allow")
    written_last = ("regime",)
    __pydantic_extra__: dict[str, Group]

    Lx_H: Group
    regime: Regime | None = None

    def others(self) -> dict[str, Group]:
        """Each operator but adding."""
        return self.__pydantic_extra__

    def figures(self) -> str:
        accuracies = "; ".join(
            f"{name} {percent(one.exact_accuracy)}{_points(one)}"
            for name, one in {PROBED: self.Lx_H, **self.__pydantic_extra__}.items()
            if one.runs
        )
        return f"{accuracies}. {judged_in(self.regime)}"

    def summary(self) -> str:
        if self.verdict == "not run":
            return self.evidence()
        apart = max(abs(one.effect or 0) for one in self.others().values())
        said = learned_or_not(self.regime)
        return f"At most {100 * apart:.1f} points from adding the input; {said}."


class Operators(Claim):
    number = "C6"
    title = "The operator by which the input enters matters little"
    statement = (
        "Subtracting the input, or passing it through a linear map, a tanh of one, or a Hadamard "
        "product, gives about the accuracy of adding it, as long as it enters asymmetrically."
    )
    tasks = ("sudoku",)
    finding = Found
    #: difference in exact accuracy that still counts as little
    margin = 0.05
    thresholds = ("margin",)
    rule = (
        f"Holds if the interval of every operator lies within {100 * margin:.0f} points of adding, "
        "fails if one lies wholly outside; only if all have finished learning."
    )

    def pictures(self, task: str, found: Found) -> list[Picture]:
        rows = [
            Row(name.removeprefix("operator_"), [Point(one.effect, one.interval)])
            for name, one in found.others().items()
        ]
        little = (-self.margin, self.margin)
        what = f"puzzles solved minus those by {PROBED}, points"
        return [Picture(what, rows, little, times=100)] if rows else []

    def judge(self, study: Study, task: str) -> Found:
        plain = group(study, task, [PROBED])
        others: dict[str, Group] = {}
        parts: list[Verdict] = []
        for name in study.groups(task, "operators").get("other operators", []):
            runs = study.accuracy(task, name)
            if not len(runs) or not plain.runs:
                continue
            effect, ends = contrast([runs, study.accuracy(task, PROBED)], [1, -1])
            further = {"effect": effect} | ({} if ends is None else {"interval": ends})
            others[name] = group(study, task, [name]).model_copy(update=further)
            parts.append(self._within(ends))
        if not parts:
            return Found(verdict="not run", Lx_H=plain)
        regime = regime_of([plain, *others.values()])
        verdict = if_converged(over_tasks(parts), regime)
        return Found(verdict=verdict, Lx_H=plain, regime=regime, **others)

    def _within(self, ends: list[float] | None) -> Verdict:
        if ends is None:
            return "inconclusive"
        if -self.margin < ends[0] and ends[1] < self.margin:
            return "holds"
        return "fails" if ends[0] > self.margin or ends[1] < -self.margin else "inconclusive"


def _points(one: Group) -> str:
    """How far a group is from the one it is compared with, in points."""
    if one.interval is None:
        return ""
    return " [" + ", ".join(f"{100 * end:+.1f}" for end in one.interval) + "]"
