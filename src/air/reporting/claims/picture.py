"""What a claim draws of its finding on a task: points with intervals, row by row.

A claim says it in :meth:`air.reporting.claims.claim.Claim.pictures`; one that says nothing has no
picture.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Point:
    """One run, or one group of runs: its value and 95 % interval, None where they are unknown.

    An interval may end at infinity: what can have come at any time from its beginning on.
    ``decides`` is False of a run that has not learned its task.
    """

    value: float | None
    interval: Sequence[float | None] | None = None
    decides: bool = True

    @property
    def known(self) -> list[float]:
        """The finite ends of the interval."""
        return [end for end in self.interval or () if end is not None and math.isfinite(end)]

    @property
    def open_from(self) -> float | None:
        """Where an interval without an end begins."""
        return self.known[0] if math.inf in (self.interval or ()) else None


@dataclass(frozen=True)
class Row:
    """Points under one name, and the value that the paper gives for them."""

    name: str
    points: Sequence[Point]
    published: float | None = None


@dataclass(frozen=True)
class Picture:
    """Rows over one axis.

    ``what`` names the axis and its unit, ``none`` the range that the rule takes for no effect,
    ``times`` what values are multiplied by to be in that unit (100 for shares in percent).
    ``logarithmic`` is for values from 1 up, such as steps; 0 has a place before them.
    """

    what: str
    rows: Sequence[Row] = field(default_factory=tuple)
    none: Sequence[float] | None = None
    times: float = 1.0
    logarithmic: bool = False
