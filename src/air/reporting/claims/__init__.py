"""The paper's claims held against the results.

A verdict is ``holds``, ``fails``, ``inconclusive`` or ``not run``. The rules:

- A claim about accuracies (C1, C4, C6) compares groups of training runs. It is decided by the 95 %
  interval of a difference of group means, by Student's t with Welch's degrees of freedom, and only
  if every group has at least ``LEAST_RUNS`` runs.
- These claims are about models that have finished learning, so a comparison can only be decided if
  every group has converged. A group has converged if its runs, on average, solve at least the share
  ``SATURATED`` of their training puzzles in the last fifth of training, or if that share is at most
  ``RISE`` above that of the fifth before. The second does not count where the learning rate was
  annealed to less than half of its peak, which stops any rise.
- A claim about what one run does inside (C2, C3, C5) is decided in each probed run of Lx_H by
  bootstrap intervals over puzzles. It holds if it holds in every run, fails if it fails in more
  than half, and is inconclusive otherwise. A run that solves at most the share ``LEARNED`` of the
  test puzzles is left out: the claim is about models that have learned their task. If none has,
  the claim is inconclusive.
- A claim about several tasks holds if it holds in all of them, and fails if it fails in any.
- A model that others trained is held against C2, C3 and C5 as a run of Lx_H is, under its own name.
  It decides no verdict, and no other claim is about it.
"""

from typing import Any

from pydantic import create_model

from air import paths
from air.files import UserError, read_json
from air.reporting.claims.c1_injection import Injection
from air.reporting.claims.c2_commitment import Commitment
from air.reporting.claims.c3_freezing import Freezing
from air.reporting.claims.c4_level_tokens import LevelTokens
from air.reporting.claims.c5_locality import Locality
from air.reporting.claims.c6_operators import Operators
from air.reporting.claims.claim import LEARNED, Claim, Judged, over_tasks
from air.reporting.claims.x1_input_sided import InputSided
from air.reporting.claims.x2_surer import Surer
from air.reporting.claims.x3_split_first import SplitFirst
from air.reporting.comparisons import LEAST_RUNS, RISE, SATURATED
from air.reporting.study import Study
from air.results.record import Record

__all__ = ["CLAIMS", "LEARNED", "LEAST_RUNS", "RISE", "SATURATED", "judge", "read"]

#: Every claim by its number: the paper's in the order in which it makes them, then this project's.
CLAIMS: dict[str, Claim] = {
    claim.number: claim
    for claim in (
        Injection(),
        Commitment(),
        Freezing(),
        LevelTokens(),
        Locality(),
        Operators(),
        InputSided(),
        Surer(),
        SplitFirst(),
    )
}


def judge(study: Study) -> dict[str, Judged]:
    """The contents of claims.json: per claim its verdict, and per task the figures behind it.

    Raises:
        UserError: the parameters were checked before a task was added that a claim is about.
    """
    result = {}
    for number, claim in CLAIMS.items():
        for task in claim.tasks:
            if task not in study.tasks:
                raise UserError(
                    f"{paths.PARAMS_CHECKED}: tasks: {task} is missing, which {number} is about; "
                    "run air check"
                )
        found = {task: claim.judge(study, task) for task in claim.tasks}
        verdict = over_tasks(one.verdict for one in found.values())
        result[number] = claim.form()(title=claim.title, verdict=verdict, **found)
    return result


def read() -> list[tuple[Claim, Judged]]:
    """Every claim, and what :func:`judge` found when claims.json was written.

    Raises:
        UserError: there is no such file, or it is not what `air claims` writes.
    """
    entries: dict[str, Any] = {number: (claim.form(), ...) for number, claim in CLAIMS.items()}
    found = read_json(paths.CLAIMS, create_model("Verdicts", __base__=Record, **entries))
    return [(claim, getattr(found, number)) for number, claim in CLAIMS.items()]
