"""C5: L-updates look nearby, H-updates look wide."""

from air.reporting.claims.claim import (
    ByRun,
    Claim,
    OfRun,
    Verdict,
    by_sign,
    learned,
    named,
    nearby,
    of_default,
    over_tasks,
)
from air.reporting.claims.picture import Picture, Row
from air.reporting.study import Study
from air.results.attention import AttentionMeasures
from air.results.record import Maybe, MaybeEnds, Record


class OnViolations(Record):
    """The contrast on cells that break a rule, per layer."""

    mean: list[Maybe]
    interval: list[MaybeEnds]


class Seed(OfRun):
    """The contrast on the nearest neighbourhood, on control cells, per layer."""

    contrast: str
    mean: list[Maybe]
    interval: list[MaybeEnds]
    d_viol: OnViolations | None = None


class Found(ByRun):
    """By run; what was published is the mean per layer."""

    __pydantic_extra__: dict[str, Seed]
    published: list[float] | None = None

    def figures(self) -> str:
        return " ".join(
            f"{run}: contrast per layer {_layers(entry.mean)}"
            + (f", on violations {_layers(entry.d_viol.mean)}." if entry.d_viol else ".")
            for run, entry in named(self.__pydantic_extra__)
        )


class Locality(Claim):
    number = "C5"
    title = "L-updates look nearby, H-updates look wide"
    statement = (
        "L-updates give more attention to a cell's neighbourhood than H-updates do, in every "
        "layer; only in deeper layers do they also turn to the cells that break a rule (Sudoku)."
    )
    tasks = ("sudoku", "maze")
    finding = Found
    #: the tasks of which the second half is said
    violations = ("sudoku",)
    thresholds = ("violations",)
    rule = (
        "On query cells without a violation beside them: holds in a run if the interval of every "
        "layer lies above zero, fails if those of at least half lie below. Sudoku also, on the "
        "attention that query cells beside a violation give to cells that break a rule: holds if "
        "the last layer's lies above and the first one's does not, fails if the last layer's lies "
        "below."
    )

    def pictures(self, task: str, found: Found) -> list[Picture]:
        return [
            picture
            for whose, runs in found.apart()
            for picture in self._pictures(task, whose, runs, [] if whose else found.published or [])
        ]

    def _pictures(
        self, task: str, whose: str, runs: list[Seed], paper: list[float]
    ) -> list[Picture]:
        near = [(run, run.mean, run.interval) for run in runs]
        broken = [(run, run.d_viol.mean, run.d_viol.interval) for run in runs if run.d_viol]
        return [
            Picture(
                f"{whose}{what}, L-update minus H-update",
                [
                    Row(
                        f"layer {layer + 1}",
                        [run.point(means[layer], ends[layer]) for run, means, ends in entries],
                        published[layer] if layer < len(published) else None,
                    )
                    for layer in range(len(entries[0][1]))
                ],
            )
            for what, entries, published in (
                (nearby(task), near, paper),
                ("attention on violations", broken, []),
            )
            if entries
        ]

    def judge(self, study: Study, task: str) -> Found:
        runs = {
            run: _run(measures, task in self.violations)
            for run, measures in of_default(study, task, study.attentions(task)).items()
        }
        verdict, entries = learned(study, task, runs)
        result = Found.model_validate({"verdict": verdict, **entries})
        paper = study.published.attention.get(task)
        if paper is None:
            return result
        published = [mean for mean, _ in paper.nearest]
        return result.model_copy(update={"published": published})


def _run(measures: AttentionMeasures, with_violations: bool) -> Seed:
    nearest = measures.control.nearest
    contrast = measures.control.contrasts[nearest]
    signs = [by_sign(ends) for ends in contrast.interval]
    if all(sign == "holds" for sign in signs):
        verdict: Verdict = "holds"
    else:
        verdict = "fails" if signs.count("fails") >= len(signs) / 2 else "inconclusive"
    entry = Seed(verdict=verdict, contrast=nearest, mean=contrast.mean, interval=contrast.interval)
    if not with_violations:
        return entry
    violations = measures.adjacent.contrasts["d_viol"]
    first, last = (by_sign(violations.interval[layer]) for layer in (0, -1))
    routing: Verdict = "inconclusive"
    if last == "holds" and first != "holds":
        routing = "holds"
    elif last == "fails":
        routing = "fails"
    on_violations = OnViolations(mean=violations.mean, interval=violations.interval)
    return entry.model_copy(
        update={"verdict": over_tasks([verdict, routing]), "d_viol": on_violations}
    )


def _layers(means: list[float | None]) -> str:
    return " and ".join("-" if mean is None else f"{mean:+.3f}" for mean in means)
