"""What all claims have in common: how a claim is written, what is found, how verdicts combine."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from typing import Any, ClassVar, Literal, TypeVar

from pydantic import ConfigDict, create_model

from air.reporting.claims.picture import Picture, Point
from air.reporting.study import Run, Study
from air.results.record import Maybe, Record

Verdict = Literal["holds", "fails", "inconclusive", "not run"]
LEARNED = 0.1
PROBED = "Lx_H"  # the paper's default, whose inside it looks at
IMPORTED = "imported "  # before the name of a model that others trained
T = TypeVar("T")


class Finding(Record, ABC):
    """What came of a claim on one task: a verdict and the figures behind it."""

    verdict: Verdict

    @abstractmethod
    def figures(self) -> str:
        """The figures, in a sentence or two."""

    def evidence(self) -> str:
        """The verdict as the page words it."""
        if self.verdict == "not run":
            return "The runs it needs are not part of this study."
        return self.figures()

    def summary(self) -> str:
        """One line of words, which stands under the picture."""
        return self.evidence()


class Judged(Record):
    """A claim's entry in claims.json: its verdict, and the finding on each task by its name."""

    title: str
    verdict: Verdict

    def on(self, task: str) -> Finding:
        """The finding on a task."""
        found: Finding = getattr(self, task)
        return found


class Claim(ABC):
    """A claim: its text, the thresholds by which it is judged, and the function that judges it."""

    number: ClassVar[str]
    title: ClassVar[str]
    statement: ClassVar[str]
    tasks: ClassVar[tuple[str, ...]]  #: those it is about
    own: ClassVar[bool] = False  #: of this project, not of the paper
    rule: ClassVar[str] = ""  #: when it holds, in a sentence
    details: ClassVar[str] = ""  #: what the rules common to all leave open, for the page
    thresholds: ClassVar[tuple[str, ...]] = ()  #: names of the attributes that the page shows
    finding: ClassVar[type[Finding]]

    @classmethod
    def form(cls) -> type[Judged]:
        """The type of its entry in claims.json."""
        tasks: dict[str, Any] = dict.fromkeys(cls.tasks, (cls.finding, ...))
        return create_model(cls.number, __base__=Judged, **tasks)

    @abstractmethod
    def judge(self, study: Study, task: str) -> Finding:
        """Hold it against the results of one task."""

    def pictures(self, task: str, found: Any) -> list[Picture]:
        """What is drawn of :meth:`judge`'s finding; nothing, unless the claim says what."""
        return []


def over_tasks(verdicts: Iterable[Verdict]) -> Verdict:
    """One verdict for a claim about several tasks."""
    verdicts = list(verdicts)
    if all(verdict == "not run" for verdict in verdicts):
        return "not run"
    if "fails" in verdicts:
        return "fails"
    return "holds" if all(verdict == "holds" for verdict in verdicts) else "inconclusive"


def by_sign(interval: Sequence[float | None], direction: int = 1) -> Verdict:
    """Whether an interval lies on the side of zero that a claim predicts (1 above, -1 below).

    One that is not known decides nothing.
    """
    known = [end for end in interval if end is not None]
    if len(known) < 2:
        return "inconclusive"
    low, high = sorted(direction * end for end in known)
    if low > 0:
        return "holds"
    return "fails" if high < 0 else "inconclusive"


# Claims about what probed runs of the default variant do inside.


class OfRun(Record):
    """What was found in one run, and the share of test puzzles it solves."""

    written_last = ("solved",)

    verdict: Verdict
    solved: Maybe = None

    @property
    def outcome(self) -> str:
        """How it stands to the claim, in words."""
        if not self.has_learned:
            return "not learned yet"
        return {"holds": "as claimed", "fails": "not as claimed"}.get(self.verdict, "undecided")

    @property
    def has_learned(self) -> bool:
        """Whether it solves enough to say anything."""
        return (self.solved or 0) > LEARNED

    def point(self, value: float | None, interval: Sequence[float | None] | None) -> Point:
        """What is drawn of it."""
        return Point(value, interval, self.has_learned)


class ByRun(Finding):
    """A finding with an entry for each probed run, under ``seed<number>``."""

    model_config = ConfigDict(extra="allow")
    written_last = ("published",)

    def runs(self) -> dict[str, OfRun]:
        """The entry of each run, then of each model that others trained."""
        return self.model_extra or {}

    def ours(self) -> list[Any]:
        """The entries of the default variant's runs, which decide the verdict."""
        return [entry for name, entry in self.runs().items() if not name.startswith(IMPORTED)]

    def others(self) -> dict[str, Any]:
        """The entries of models that others trained, by their names."""
        return {
            name.removeprefix(IMPORTED): entry
            for name, entry in self.runs().items()
            if name.startswith(IMPORTED)
        }

    def apart(self) -> list[tuple[str, list[Any]]]:
        """What is drawn together, each with what its title begins with: our runs; each other."""
        alone = [(f"{name}: ", [entry]) for name, entry in self.others().items()]
        return [("", self.ours()), *alone] if self.ours() else alone

    def evidence(self) -> str:
        unlearned = [
            f"{run[0].upper()}{run[1:]} solves {percent(entry.solved)} of the test puzzles: too "
            "few for a claim about models that have learned their task."
            for run, entry in named(self.runs())
            if not entry.has_learned
        ]
        return " ".join([self.figures(), *unlearned]) if self.runs() else super().evidence()

    def summary(self) -> str:
        others = [f"{name}: {entry.outcome}." for name, entry in self.others().items()]
        return " ".join(filter(None, [tally(self.ours()), *others])) or self.evidence()


def over_runs(runs: Collection[OfRun]) -> Verdict:
    """One verdict for a claim that was looked at in several runs: of those that have learned."""
    verdicts = [run.verdict for run in runs if run.has_learned]
    if not verdicts:
        return "inconclusive" if runs else "not run"
    if all(verdict == "holds" for verdict in verdicts):
        return "holds"
    return "fails" if verdicts.count("fails") > len(verdicts) / 2 else "inconclusive"


R = TypeVar("R", bound=OfRun)


def of_default(study: Study, task: str, found: dict[Run, T]) -> dict[Run, T]:
    """A probe's measures of the default variant, and of models that others trained."""
    others = study.imported(task)
    return {run: found[run] for run in found if run[0] == PROBED or run in others}


def learned(study: Study, task: str, runs: dict[Run, R]) -> tuple[Verdict, dict[str, R]]:
    """The verdict over the default variant's runs, and all entries, with the share each solves.

    A run that has not learned its task decides nothing; nor does a model that others trained.
    """
    entries: dict[str, R] = {}
    others = study.imported(task)
    for run, entry in runs.items():
        solved = study.solved(task, run)
        changed: dict[str, object] = {"solved": share(solved)}
        if not solved > LEARNED:
            changed["verdict"] = "inconclusive"
        name = f"{IMPORTED}{run[0]}" if run in others else f"seed{run[1]}"
        entries[name] = entry.model_copy(update=changed)
    ours = [entry for name, entry in entries.items() if not name.startswith(IMPORTED)]
    return over_runs(ours), entries


def share(solved: float) -> float | None:
    """A share as claims.json holds it; NaN, of a run not evaluated, is null."""
    return round(solved, 6) if solved == solved else None


# Words.


def named(runs: dict[str, T]) -> list[tuple[str, T]]:
    """Runs as sentences name them: "seed 0"; others' models by their names."""
    return [
        (
            name.removeprefix(IMPORTED)
            if name.startswith(IMPORTED)
            else name.replace("seed", "seed "),
            entry,
        )
        for name, entry in runs.items()
    ]


def tally(runs: Collection[OfRun]) -> str:
    """How many runs are as the claim says: "2 of 4 runs as claimed, 1 not, 1 undecided."."""
    words = {"holds": "as claimed", "fails": "not"}
    found = Counter(
        words.get(run.verdict, "undecided") if run.has_learned else "not learned yet"
        for run in runs
    )
    others = "".join(
        f", {found[kind]} {kind}" for kind in ("not", "undecided", "not learned yet") if found[kind]
    )
    count = f"{len(runs)} run" + ("s" if len(runs) > 1 else "")
    return f"{found['as claimed']} of {count} as claimed{others}." if runs else ""


def nearby(task: str) -> str:
    """What attention on a task's nearest neighbourhood is called: Maze's is divided by 4."""
    return "attention nearby" + {"maze": ", per neighbour"}.get(task, "")


def percent(part: float | None) -> str:
    """A share in percent."""
    return "none" if part is None else f"{100 * part:.1f} %"
