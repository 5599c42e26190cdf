"""C3: each state needs the other."""

from air.reporting.claims.claim import (
    ByRun,
    Claim,
    OfRun,
    Verdict,
    by_sign,
    learned,
    named,
    of_default,
    over_tasks,
    percent,
)
from air.reporting.claims.picture import Picture, Row
from air.reporting.inputs import Number
from air.reporting.study import Study
from air.results.freeze import FreezeMeasures
from air.results.record import MaybeEnds, Record


class Frozen(Record):
    """Content changes of the moving state, frozen minus normal; accuracy when frozen."""

    content_changes: float
    interval: MaybeEnds
    exact_accuracy: float

    def __str__(self) -> str:
        ends = ("none" if end is None else f"{end:+.1f}" for end in self.interval)
        return f"{self.content_changes:+.1f} [{', '.join(ends)}]"


class Seed(OfRun):
    """Both conditions in one run, beside its usual accuracy."""

    normal_accuracy: float
    freeze_H: Frozen
    freeze_L: Frozen


class Published(Record):
    """The paper's differences in content changes."""

    freeze_H: Number
    freeze_L: Number


class Found(ByRun):
    """By run."""

    __pydantic_extra__: dict[str, Seed]
    published: Published | None = None

    def figures(self) -> str:
        return " ".join(
            f"{run}: z_H frozen, z_L's content changes {entry.freeze_H}; "
            f"z_L frozen, z_H's {entry.freeze_L}; accuracy {percent(entry.normal_accuracy)}, "
            f"frozen {percent(entry.freeze_H.exact_accuracy)} and "
            f"{percent(entry.freeze_L.exact_accuracy)}."
            for run, entry in named(self.__pydantic_extra__)
        )


class Freezing(Claim):
    number = "C3"
    title = "Each state needs the other"
    statement = (
        "Sudoku: with z_H frozen, z_L changes fewer cells; with z_L frozen, z_H changes more. "
        "Maze: with either frozen, the other changes more. Accuracy falls to zero in all four."
    )
    tasks = ("sudoku", "maze")
    finding = Found
    #: the sign of the difference in content changes, frozen minus normal
    directions = {  # noqa: RUF012
        "sudoku": {"freeze_H": -1, "freeze_L": 1},
        "maze": {"freeze_H": 1, "freeze_L": 1},
    }
    #: a frozen model counts as failing at or below this exact accuracy
    failed = 0.01
    thresholds = ("directions", "failed")
    rule = (
        "Holds in a run if both intervals lie on the predicted side of zero, and at most "
        f"{100 * failed:.0f} % of the puzzles are solved on the last board of the moving state, "
        "whichever is frozen; "
        "fails if an interval lies on the other side, or more are solved."
    )

    def pictures(self, task: str, found: Found) -> list[Picture]:
        paper = found.published

        def row(name: str, effects: list[tuple[Seed, Frozen]], published: Number | None) -> Row:
            points = [run.point(one.content_changes, one.interval) for run, one in effects]
            return Row(name, points, published)

        pictures = []
        for whose, runs in found.apart():
            of_Lx_H = paper if not whose else None
            of_L, of_H = (of_Lx_H.freeze_H, of_Lx_H.freeze_L) if of_Lx_H else (None, None)
            rows = [
                row("z_L", [(run, run.freeze_H) for run in runs], of_L),
                row("z_H", [(run, run.freeze_L) for run in runs], of_H),
            ]
            what = f"{whose}content changes per puzzle, frozen minus normal"
            pictures.append(Picture(what, rows))
        return pictures

    def judge(self, study: Study, task: str) -> Found:
        runs = {
            run: self._run(measures, self.directions[task])
            for run, measures in of_default(study, task, study.freezes(task)).items()
        }
        verdict, entries = learned(study, task, runs)
        result = Found.model_validate({"verdict": verdict, **entries})
        paper = study.published.freeze.get(task)
        if paper is None:
            return result
        published = Published(
            freeze_H=paper.freeze_H.z_L - paper.normal.z_L,
            freeze_L=paper.freeze_L.z_H - paper.normal.z_H,
        )
        return result.model_copy(update={"published": published})

    def _run(self, measures: FreezeMeasures, directions: dict[str, int]) -> Seed:
        parts: list[Verdict] = []
        found = {}
        for condition, direction in directions.items():
            effect = measures.effects.of(condition)
            accuracy = measures.condition(condition).state(effect.state).exact_accuracy
            parts += [
                by_sign(effect.interval, direction),
                "holds" if accuracy <= self.failed else "fails",
            ]
            found[condition] = Frozen(
                content_changes=effect.content_changes,
                interval=effect.interval,
                exact_accuracy=accuracy,
            )
        return Seed(
            verdict=over_tasks(parts),
            normal_accuracy=measures.normal.z_H.exact_accuracy,
            freeze_H=found["freeze_H"],
            freeze_L=found["freeze_L"],
        )
