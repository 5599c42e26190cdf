"""C2: z_H commits, z_L keeps cells undecided."""

from air.reporting.claims.claim import (
    ByRun,
    Claim,
    OfRun,
    Verdict,
    learned,
    named,
    of_default,
    percent,
)
from air.reporting.claims.picture import Picture, Row
from air.reporting.study import Study
from air.results.record import Maybe, MaybeEnds, Record
from air.results.rollout import State


class OfState(Record):
    """The share of undecided cells over a whole rollout, and the cells that move."""

    undecided: float
    interval: MaybeEnds
    moves: Maybe


class Seed(OfRun):
    """Both states of one run."""

    z_L: OfState
    z_H: OfState


class Found(ByRun):
    """By run."""

    __pydantic_extra__: dict[str, Seed]

    def figures(self) -> str:
        return " ".join(
            f"Undecided in {run}: {percent(entry.z_L.undecided)} of z_L's cells, "
            f"{percent(entry.z_H.undecided)} of z_H's."
            for run, entry in named(self.__pydantic_extra__)
        )


class Commitment(Claim):
    number = "C2"
    title = "z_H commits, z_L keeps cells undecided"
    statement = (
        "Decoded after every sub-step, z_H shows a decision in (nearly) every cell, while z_L "
        "holds cells undecided and moves them about."
    )
    tasks = ("sudoku", "maze")
    finding = Found
    #: z_H counts as committed below, and z_L as undecided above, this share of undecided cells
    committed = 0.01
    thresholds = ("committed",)
    rule = (
        f"Holds in a run if at most {100 * committed:.0f} % of z_H's cells and more of z_L's are "
        "undecided, intervals included; fails if either whole interval is on the other side."
    )

    def pictures(self, task: str, found: Found) -> list[Picture]:
        return [
            Picture(
                f"{whose}undecided cells, %",
                [
                    Row("z_L", [run.point(run.z_L.undecided, run.z_L.interval) for run in runs]),
                    Row("z_H", [run.point(run.z_H.undecided, run.z_H.interval) for run in runs]),
                ],
                (0, self.committed),
                times=100,
            )
            for whose, runs in found.apart()
        ]

    def judge(self, study: Study, task: str) -> Found:
        runs = {}
        for run, measures in of_default(study, task, study.rollouts(task)).items():
            z_L, z_H = _of(measures.z_L), _of(measures.z_H)
            runs[run] = Seed(verdict=self._decided(z_L.interval, z_H.interval), z_L=z_L, z_H=z_H)
        verdict, entries = learned(study, task, runs)
        return Found(verdict=verdict, **entries)

    def _decided(self, z_L: list[float | None], z_H: list[float | None]) -> Verdict:
        """By intervals; one that is not known rules nothing out."""
        (low_L, high_L), (low_H, high_H) = (
            (0.0 if low is None else low, 1.0 if high is None else high) for low, high in (z_L, z_H)
        )
        if high_H <= self.committed < low_L:
            return "holds"
        return "fails" if low_H > self.committed or high_L <= self.committed else "inconclusive"


def _of(state: State) -> OfState:
    return OfState(
        undecided=state.undecided_overall,
        interval=state.undecided_overall_interval,
        moves=state.undecided_moves,
    )
