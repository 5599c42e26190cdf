"""X2: z_H is the surer of the two, if the input enters asymmetrically."""

from air.reporting.claims.claim import Claim
from air.reporting.claims.picture import Picture
from air.reporting.claims.sides import DETAILS, Sides, over_sides
from air.reporting.study import Study
from air.results.attention import Overall
from air.results.rollout import RolloutMeasures


class Found(Sides):
    """The lead of z_H's margin on query cells."""

    what = "Margin, z_H minus z_L"


class Surer(Claim):
    number = "X2"
    own = True
    title = "z_H is the surer of the two, if the input enters asymmetrically"
    statement = (
        "On the cells to be filled in, z_H prefers its best token to the second more clearly than "
        "z_L does, in models into which the input enters asymmetrically and not in the others."
    )
    tasks = ("sudoku", "maze")
    finding = Found
    #: difference in margin that counts as none
    none = 0.01
    thresholds = ("none",)
    rule = (
        "Holds in a run if its interval lies above the band where the input enters asymmetrically, "
        "and within it where it does not. The claim holds only if runs of both kinds have learned."
    )

    details = DETAILS

    def pictures(self, task: str, found: Found) -> list[Picture]:
        return found.picture("margin of the best token, z_H minus z_L", self.none)

    def judge(self, study: Study, task: str) -> Found:
        """z_H's margin on query cells is above z_L's where the input enters asymmetrically."""

        def effect(measures: RolloutMeasures) -> Overall:
            return Overall(mean=measures.margin_lead, interval=measures.margin_lead_interval)

        probed = study.rollouts(task)
        return over_sides(Found, study, task, probed, effect, self.none, mirrored=False)
