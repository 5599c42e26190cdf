"""What a claim draws (:mod:`air.reporting.claims.picture`), as a small picture in the page."""

import math
import textwrap
from collections.abc import Iterator

import matplotlib.pyplot as plt
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from air.reporting.claims.picture import Picture, Point
from air.reporting.display import as_image, style

INCHES = 3.5  # wide: as the page shows it, also on a phone, letters keep their size
COLOUR, BAND, PUBLISHED = "#0072B2", "#e3e6ea", "#D55E00"
KEY = (
    "Dots: runs, or means of groups of runs, with 95 % intervals; hollow: a run that has not "
    "learned its task; dotted line: not established, but possible from that step on. Grey: counts "
    "as none or little. Orange diamonds: the paper's value; orange arrows: the paper's "
    "value, outside the axis."
)


def strip(picture: Picture, about: str) -> Markup:
    """A picture; ``about`` begins its alternative text."""
    heights = [0.2 + 0.07 * len(row.points) for row in picture.rows]  # inches
    middles = np.cumsum(heights) - np.array(heights) / 2
    with style():
        canvas, axis = plt.subplots(figsize=(INCHES, sum(heights) + 0.5))
        if picture.none:
            axis.axvspan(*np.multiply(picture.none, picture.times), color=BAND, linewidth=0)
        if not picture.logarithmic:
            axis.axvline(0, color="#333333", linewidth=0.8)
        opened: list[tuple[float, float]] = []
        for row, middle, height in zip(picture.rows, middles, heights, strict=True):
            spread = (height - 0.2) / 2
            places = middle + np.linspace(-spread, spread, len(row.points) + 2)[1:-1]
            for point, place in zip(row.points, places, strict=True):
                _point(axis, point, place, picture.times)
                if point.open_from is not None:
                    opened.append((point.open_from, place))
            if row.published is not None:
                _published(axis, row.published * picture.times, middle, picture)
        axis.set_yticks(middles, [row.name for row in picture.rows])
        axis.set_ylim(sum(heights), 0)
        if picture.logarithmic:
            _decades(axis, picture)
        else:
            axis.xaxis.set_major_locator(MaxNLocator(5))
            axis.margins(x=0.06)
        left, right = axis.get_xlim()
        for begin, place in opened:
            axis.plot([begin * picture.times, right], [place, place], ":", color=COLOUR)
            axis.plot(right, place, ">", color=COLOUR, markersize=4, clip_on=False)
        axis.set_xlim(left, right)
        axis.set_xlabel(textwrap.fill(picture.what, 50), fontsize=8, loc="right")
        axis.grid(axis="y", visible=False)
        axis.tick_params(left=False)
        axis.spines["left"].set_visible(False)
        return as_image(canvas, f"{about}, {picture.what}: {_in_words(picture)}", "strip")


def _point(axis: Axes, point: Point, place: float, times: float) -> None:
    ends = [end * times for end in point.known]
    if len(ends) == 2:
        axis.plot(ends, [place, place], color=COLOUR, linewidth=1.2, solid_capstyle="butt")
    if point.value is not None:
        face = COLOUR if point.decides else "white"
        axis.plot(point.value * times, place, "o", color=COLOUR, mfc=face, markersize=4.5)


def _decades(axis: Axes, picture: Picture) -> None:
    """A logarithmic axis from a power of ten on; 0, where it is drawn, stands before 1."""
    steps = [value * picture.times for value in _measured(picture)]
    above = [step for step in steps if step >= 1] or [1.0]
    first = 0 if 0 in steps else math.floor(math.log10(min(above)))
    end = 1.4 * max(*above, 10.0 ** (first + 1))
    powers = [10**power for power in range(first, math.floor(math.log10(end)) + 1)]
    if len(powers) > 4:  # their labels would touch
        powers = powers[::-2][::-1]
    ticks = [0, *powers] if 0 in steps else powers
    axis.set_xscale("symlog", linthresh=1, linscale=0.6)
    axis.set_xlim(-0.15 if 0 in steps else 0.85 * 10**first, end)
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.set_xticks([], minor=True)


def _measured(picture: Picture) -> Iterator[float]:
    """Every value and end of an interval that is known."""
    for point in (point for row in picture.rows for point in row.points):
        yield from (point.value, *point.known) if point.value is not None else point.known


def _published(axis: Axes, value: float, place: float, picture: Picture) -> None:
    """A diamond, or an arrow at the edge where it would squeeze what was measured here."""
    here = [0.0, *(picture.none or ()), *_measured(picture)]
    low, high = (picture.times * end(here) for end in (min, max))
    room = 2 * (high - low)
    shown = float(np.clip(value, low - room, high + room))
    marker = "D" if shown == value else ">" if shown < value else "<"
    axis.plot(shown, place, marker, color=PUBLISHED, markersize=5)


def _in_words(picture: Picture) -> str:
    """What is drawn, for those who do not see it."""

    def number(value: float | None) -> str:
        if value is None:
            return "unknown"
        shown = value * picture.times
        if shown == round(shown):
            return f"{shown:,.0f}"
        return f"{shown:,.1f}" if abs(shown) >= 100 else f"{shown:.3g}"

    def point(one: Point) -> str:
        if one.open_from is not None:
            return f"perhaps from {number(one.open_from)} on"
        ends = [number(end) for end in one.known]
        return number(one.value) + (f" ({' to '.join(ends)})" if ends else "")

    rows = [
        f"{row.name} {', '.join(map(point, row.points))}"
        + (f", published {number(row.published)}" if row.published is not None else "")
        for row in picture.rows
    ]
    if picture.none:
        rows.append(f"counts as none or little: {' to '.join(map(number, picture.none))}")
    return "; ".join(rows) + "."
