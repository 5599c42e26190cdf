"""Groups of training runs: what claims about accuracies compare."""

from collections.abc import Iterable

from air.reporting.claims.claim import Verdict
from air.reporting.comparisons import Regime, regime
from air.reporting.study import Study
from air.results.record import Ends, Index, Record


class Group(Record):
    """A group of runs: how many, how accurate, in which regime; how far from another group.

    ``effect`` and ``interval`` are its mean minus the other's; ``restored`` the share of a gap that
    it closes.
    """

    runs: Index
    exact_accuracy: float | None = None
    regime: Regime | None = None
    training_accuracy: float | None = None
    rise: float | None = None
    effect: float | None = None
    interval: Ends | None = None
    restored: float | None = None


def group(study: Study, task: str, variants: list[str]) -> Group:
    """The runs of some variants; of none, it is said that there are 0."""
    accuracies = study.group(task, variants)
    if not len(accuracies):
        return Group(runs=0)
    curves = [curve for run, curve in study.curves(task).items() if run[0] in variants]
    return Group(
        runs=len(accuracies),
        exact_accuracy=round(float(accuracies.mean()), 6),
        **regime(curves, study.params.task(task).train).content(),
    )


def regime_of(groups: Iterable[Group]) -> Regime:
    """The regime of a comparison of groups: that of the one that is furthest from the end."""
    found = {one.regime for one in groups if one.runs}
    if "unknown" in found:
        return "unknown"
    return "still learning" if "still learning" in found else "converged"


def if_converged(verdict: Verdict, found: Regime) -> Verdict:
    """A verdict on models that have finished learning, which others cannot decide."""
    return verdict if found == "converged" or verdict == "not run" else "inconclusive"


def published_mean(study: Study, task: str, variants: Iterable[str]) -> float | None:
    """Mean of the published accuracies of ``variants``, as a fraction; None if any is unknown."""
    means = [study.published.accuracy.get(name, {}).get(task) for name in variants]
    known = [figure.mean for figure in means if figure is not None]
    return round(sum(known) / len(known) / 100, 4) if known and len(known) == len(means) else None


def count(one: Group) -> str:
    """Its runs, in words."""
    return f"{one.runs} run" + ("s" if one.runs != 1 else "")


def learned_or_not(found: Regime | None) -> str:
    """The regime in two words."""
    words = {"converged": "learning had finished", "still learning": "still learning"}
    return words.get(found or "", "whether learning had finished is unknown")


def judged_in(found: Regime | None) -> str:
    """The regime of a comparison, and what follows for the verdict."""
    match found:
        case "still learning":
            return (
                "Judged while still learning, so it decides nothing about models that have "
                "finished: the difference may be one of speed."
            )
        case "unknown":
            return "Whether these models had finished learning is unknown."
        case _:
            return "Judged on converged models."
