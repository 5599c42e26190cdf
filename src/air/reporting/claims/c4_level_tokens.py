"""C4: a level token helps if it is prepended and stripped."""

from air.reporting.claims.claim import Claim, Finding, Verdict, by_sign, over_tasks
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
from air.results.record import Ends

BASE, FULL = "L2x_H2x", "Lx_H"  # without a token, and what it is to regain
HELPS = "level_token_prepend"
TOKENS = (HELPS, "level_token_addition", "level_token_prepend_no_strip")


class Found(Finding):
    """The gap from L2x_H2x to Lx_H, and the share of it that each level token closes."""

    L2x_H2x: Group
    level_token_prepend: Group
    level_token_addition: Group
    level_token_prepend_no_strip: Group
    missing: list[str]
    gap: float | None = None
    gap_interval: Ends | None = None
    regime: Regime | None = None

    def figures(self) -> str:
        regained = "; ".join(
            f"{name.removeprefix('level_token_')} {_regained(getattr(self, name))}"
            for name in TOKENS
        )
        gap = f"Lx_H minus L2x_H2x {100 * (self.gap or 0):+.1f} points"
        if self.gap_interval is not None:
            low, high = self.gap_interval
            gap += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
            if low <= 0:
                gap += ", so that no gap is established"
        return f"{gap}. Share of the gap regained: {regained}. {judged_in(self.regime)}"

    def summary(self) -> str:
        if self.verdict == "not run" or self.gap is None:
            return self.evidence()
        there = self.gap_interval is not None and self.gap_interval[0] > 0
        gap = (
            f"a gap of {100 * self.gap:.1f} points" if there else "no gap to regain is established"
        )
        said = f"prepending regains {_regained(self.level_token_prepend)} of it" if there else ""
        return (
            f"{'; '.join(filter(None, [gap, said])).capitalize()}; {learned_or_not(self.regime)}."
        )


def _regained(one: Group) -> str:
    return "unknown" if one.restored is None else f"{100 * one.restored:.0f} %"


class LevelTokens(Claim):
    number = "C4"
    title = "A level token helps if it is prepended and stripped"
    statement = (
        "With a learned token that marks each update, the symmetric model regains most of what it "
        "loses; it does not if the token is added to every position, or prepended and kept."
    )
    tasks = ("sudoku",)
    finding = Found
    #: share of the gap between L2x_H2x and Lx_H that counts as most of it
    restored = 0.5
    thresholds = ("restored",)
    rule = (
        f"Holds if the prepended token regains more than {100 * restored:.0f} % of the gap "
        "between L2x_H2x and Lx_H and the other two less, intervals included; only if there is a "
        "gap, and only if all have finished learning."
    )

    def pictures(self, task: str, found: Found) -> list[Picture]:
        base = found.L2x_H2x.exact_accuracy
        if found.gap is None or base is None:
            return []
        rows = [Row(FULL, [Point(found.gap, found.gap_interval)])]
        rows += [
            Row(name.removeprefix("level_token_"), [Point(solved - base)])
            for name in TOKENS
            if (solved := getattr(found, name).exact_accuracy) is not None
        ]
        little = (0, self.restored * found.gap) if found.gap > 0 else None
        return [Picture("puzzles solved minus those by L2x_H2x, points", rows, little, times=100)]

    def judge(self, study: Study, task: str) -> Found:
        names = [BASE, FULL, *TOKENS]
        found = {name: group(study, task, [name]) for name in names}
        missing = [name for name in names if not found[name].runs]
        further: dict[str, object] = {}
        verdict: Verdict = "not run"
        if found[BASE].runs and found[FULL].runs:
            full, base = study.accuracy(task, FULL), study.accuracy(task, BASE)
            gap, ends = contrast([full, base], [1, -1])
            further = {"gap": gap} | ({} if ends is None else {"gap_interval": ends})
            is_gap = ends is not None and by_sign(ends) == "holds"
            parts = [self._part(study, task, name, is_gap) for name in TOKENS if found[name].runs]
            for name in TOKENS if gap > 0 else ():
                if found[name].runs:
                    regained = float(study.accuracy(task, name).mean() - base.mean()) / gap
                    update = {"restored": round(regained, 4)}
                    found[name] = found[name].model_copy(update=update)
            if not missing:
                further["regime"] = regime = regime_of(found.values())
                verdict = if_converged(over_tasks(parts), regime)
        groups = {name: one for name, one in found.items() if name != FULL}
        return Found.model_validate({"verdict": verdict, **groups, "missing": missing, **further})

    def _part(self, study: Study, task: str, name: str, is_gap: bool) -> Verdict:
        """Whether a token does what the claim says."""
        groups = [study.accuracy(task, one) for one in (name, BASE, FULL)]
        # more than the threshold's share of the gap: runs - base - threshold (full - base) > 0
        _, ends = contrast(groups, [1, self.restored - 1, -self.restored])
        if ends is None or not is_gap:
            return "inconclusive"
        return by_sign(ends, 1 if name == HELPS else -1)
