"""C1: asymmetric injection beats symmetric injection."""

from air.reporting.claims.claim import Claim, Finding, Verdict, by_sign, percent
from air.reporting.claims.groups import (
    Group,
    count,
    group,
    if_converged,
    judged_in,
    learned_or_not,
    published_mean,
    regime_of,
)
from air.reporting.claims.picture import Picture, Point, Row
from air.reporting.comparisons import LEAST_RUNS, Regime, contrast, runs_to_decide
from air.reporting.study import Study
from air.results.record import Ends, Record


class Best(Record):
    """The most accurate of the variants with shared weights."""

    variant: str
    exact_accuracy: float


class Found(Finding):
    """Exact accuracy of asymmetric variants minus that of symmetric ones (``effect``)."""

    asymmetric: Group
    symmetric: Group
    best_shared: Best | None = None
    hrm: Group
    published: float | None = None
    effect: float | None = None
    regime: Regime | None = None
    interval: Ends | None = None
    runs_to_decide: int | None = None

    def figures(self) -> str:
        ours, others = self.asymmetric, self.symmetric
        published = "" if self.published is None else f" (published {100 * self.published:+.1f})"
        return (
            f"{percent(ours.exact_accuracy)} of puzzles solved by {count(ours)} of asymmetric "
            f"variants, {percent(others.exact_accuracy)} by {count(others)} of symmetric ones"
            f"{self._interval()}{published}. {judged_in(self.regime)}"
        )

    def summary(self) -> str:
        if self.verdict == "not run":
            return self.evidence()
        return (
            f"Asymmetric variants solve {percent(self.asymmetric.exact_accuracy)}, symmetric ones "
            f"{percent(self.symmetric.exact_accuracy)}; {learned_or_not(self.regime)}."
        )

    def _interval(self) -> str:
        if self.interval is None:
            return "; no interval: too few runs, or all alike"
        low, high = self.interval
        said = f"; difference between {100 * low:+.1f} and {100 * high:+.1f} points"
        if self.runs_to_decide:
            said += f"; about {self.runs_to_decide:,} runs per group would decide"
        return said


class Injection(Claim):
    number = "C1"
    title = "Asymmetric injection beats symmetric injection"
    statement = (
        "A model whose two updates receive the input unequally solves more puzzles than one in "
        "which both receive it alike; the best shared-weight model matches the two-network HRM."
    )
    tasks = ("sudoku", "maze")
    finding = Found
    rule = (
        "Holds if the interval of the difference of the groups' means lies above zero, fails if it "
        f"lies below; only with {LEAST_RUNS} runs or more in each group, and only if all have "
        "finished learning."
    )
    details = (
        "Where C1's interval includes zero, ``runs_to_decide`` is the number of runs per group, up "
        "to 10,000, at which an effect and a spread like those observed would exclude zero."
    )

    def pictures(self, task: str, found: Found) -> list[Picture]:
        if found.effect is None:
            return []
        row = Row("difference", [Point(found.effect, found.interval)], found.published)
        return [Picture("puzzles solved, asymmetric minus symmetric, points", [row], times=100)]

    def judge(self, study: Study, task: str) -> Found:
        names = study.groups(task, "injection")
        groups = {kind: group(study, task, variants) for kind, variants in names.items()}
        result = Found(
            verdict="not run",
            asymmetric=groups["asymmetric"],
            symmetric=groups["symmetric"],
            hrm=group(study, task, ["hrm"]),
        )
        shared = {v: study.accuracy(task, v) for kind in names.values() for v in kind}
        means = {v: float(accuracies.mean()) for v, accuracies in shared.items() if len(accuracies)}
        if means:
            best = max(means, key=lambda v: means[v])
            shown = Best(variant=best, exact_accuracy=round(means[best], 6))
            result = result.model_copy(update={"best_shared": shown})
        ours_there, others_there = (published_mean(study, task, names[kind]) for kind in names)
        if ours_there is not None and others_there is not None:
            difference = round(ours_there - others_there, 4)
            result = result.model_copy(update={"published": difference})
        ours, others = (study.group(task, variants) for variants in names.values())
        if not len(ours) or not len(others):
            return result
        effect, ends = contrast([ours, others], [1, -1])
        regime = regime_of(groups.values())
        verdict: Verdict = "inconclusive"
        further: dict[str, object] = {"effect": effect, "regime": regime}
        if ends is not None:
            further["interval"] = ends
            verdict = if_converged(by_sign(ends), regime)
            if by_sign(ends) == "inconclusive":
                further["runs_to_decide"] = runs_to_decide(ours, others)
        return result.model_copy(update={**further, "verdict": verdict})
