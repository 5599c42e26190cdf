"""The stage `claims`: the paper's claims held against the results."""

from air import paths
from air.reporting.claims import judge
from air.reporting.study import Study
from air.writing import write_json


def claims() -> dict[str, str]:
    """Write reports/claims.json; the verdict on each claim."""
    found = judge(Study.load())
    write_json(paths.CLAIMS, {name: claim.content() for name, claim in found.items()})
    return {name: claim.verdict for name, claim in found.items()}
