"""X1: the local update is the one that receives the input."""

from air.reporting.claims.claim import Claim, nearby
from air.reporting.claims.picture import Picture
from air.reporting.claims.sides import DETAILS, Sides, over_sides
from air.reporting.study import Study
from air.results.attention import AttentionMeasures, Overall


class Found(Sides):
    """The neighbourhood contrast over all layers."""

    what = "Attention nearby, L minus H"


class InputSided(Claim):
    number = "X1"
    own = True
    title = "The local update is the one that receives the input"
    statement = (
        "If the input enters the L-update more strongly, L-updates look nearby and H-updates wide; "
        "if it enters the H-update more strongly, it is the reverse; if it enters both alike, they "
        "do not differ."
    )
    tasks = ("sudoku", "maze")
    finding = Found
    #: difference in attention on the neighbourhood that counts as none
    none = {"sudoku": 0.01, "maze": 0.0025}  # noqa: RUF012
    thresholds = ("none",)
    rule = (
        "Holds in a run if its interval lies beyond the band, on the side of the update that the "
        "input enters more strongly, or within it where it enters both alike; holds only with two "
        "of these three kinds."
    )

    details = DETAILS

    def pictures(self, task: str, found: Found) -> list[Picture]:
        return found.picture(f"{nearby(task)}, L-update minus H-update", self.none[task])

    def judge(self, study: Study, task: str) -> Found:
        """The neighbourhood contrast, over all layers, has the sign of n_L - n_H."""

        def effect(measures: AttentionMeasures) -> Overall:
            return measures.control.contrasts[measures.control.nearest].all_layers

        probed = study.attentions(task)
        return over_sides(Found, study, task, probed, effect, self.none[task], mirrored=True)
