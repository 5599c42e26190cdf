"""Figures that show boards: puzzles, and what the states decode to."""

import io
from dataclasses import dataclass
from typing import Any, TypeVar

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from air.reporting.display import DPI, WIDTH, Display, as_figure, missing, style
from air.reporting.inputs import Look
from air.reporting.sections import heading, wording
from air.reporting.study import Run, Study
from air.results.rollout import Boards

T = TypeVar("T")
WRONG = "#CC3311"
SMALL = {"fontsize": 8, "fontweight": "normal"}


@dataclass(frozen=True)
class Pen:
    """Draws the boards of a task: by the header of its data file, and in its own words."""

    look: Look
    filled: str  # symbols that are not written: their fill says them

    @classmethod
    def of(cls, study: Study, task: str) -> "Pen | None":
        """None if the task has no data yet."""
        look = study.look(task)
        return None if look is None else cls(look, wording(task).filled)

    def board(
        self,
        axis: Axes,
        board: np.ndarray,
        inputs: np.ndarray,
        labels: np.ndarray,
        inches: float,
        violations: np.ndarray | None = None,
    ) -> None:
        """Draw one board ``[S]``, ``inches`` wide, of the puzzle ``inputs``, ``labels``."""
        look = self.look
        rows, columns, undecided = look.rows, look.columns, look.undecided_token
        fills, symbols = look.look.fills, look.vocabulary
        colours = np.array([to_rgb(fill or "white") for fill in fills])
        colours[undecided] = to_rgb("#d0d0d0")
        cells = colours[board]
        wrong = (board != labels) & (board != inputs) & (board != undecided)
        cells[wrong] = 0.65 * cells[wrong] + 0.35 * np.array(to_rgb(WRONG))
        picture(axis, cells.reshape(rows, columns, 3))
        across = 72 * inches / columns  # points
        for cell, token in enumerate(board.tolist() if across > 4 else []):
            symbol = symbols[token]
            if token == undecided or symbol == " " or (fills[token] and symbol in self.filled):
                continue
            row, column = divmod(cell, columns)
            axis.text(
                column + 0.5,
                row + 0.52,
                symbol,
                ha="center",
                va="center",
                fontsize=across / 2,
                fontweight="bold" if inputs[cell] == labels[cell] else "normal",
            )
        self._lines(axis)
        if violations is not None:
            broken = np.flatnonzero(violations & (board != undecided))
            frames(axis, broken, columns, WRONG, min(1.0, across / 8))

    def _lines(self, axis: Axes) -> None:
        """Between cells, thicker between boxes."""
        rows, columns, box = self.look.rows, self.look.columns, self.look.look.box
        for ticks, draw, length, step in (
            (np.arange(1, columns), axis.vlines, rows, box and box[1]),
            (np.arange(1, rows), axis.hlines, columns, box and box[0]),
        ):
            widths = [1.1 if step and tick % step == 0 else 0.25 for tick in ticks]
            draw(ticks, 0, length, color="#444444", linewidth=widths)


def puzzles(study: Study, task: str) -> Display:
    """The first training puzzles, question above answer."""
    pen, found = Pen.of(study, task), study.statistics(task)
    if pen is None or found is None:
        return missing(
            f"No {study.tasks[task]} puzzles are kept here; `air data {task}` makes them."
        )
    inputs, labels = (np.array(boards) for _, boards in found.examples)
    with style():
        canvas, axes = plt.subplots(2, len(inputs), figsize=(WIDTH, 3.9), squeeze=False)
        for place, (question, answer) in enumerate(zip(inputs, labels, strict=True)):
            pen.board(axes[0, place], question, question, answer, inches=1.7)
            pen.board(axes[1, place], answer, question, answer, inches=1.7)
        blank = np.unique((inputs != labels).sum(axis=1))
        span = f"{blank[0]} to {blank[-1]}" if len(blank) > 1 else str(blank[0])
        return as_figure(
            canvas,
            f"puzzles-{task}",
            f"{study.tasks[task]}: {pen.look.rows} x {pen.look.columns} cells; in these puzzles "
            f"{span} are to be filled in",
            f"{len(inputs)} {study.tasks[task]} puzzles with their answers.",
        )


def rollout_boards(study: Study, task: str, puzzle: int = 0, columns: int = 6) -> list[Display]:
    """Decoded boards of z_L and z_H of one puzzle over sub-steps, for one run of each variant."""
    pen, shown = Pen.of(study, task), []
    for run, measures in one_per_variant(study.rollouts(task)).items():
        boards = study.boards(task, run)
        if boards is None or pen is None:
            continue
        places = shown_places(measures.updates_per_segment, len(boards.z_L[puzzle]), columns)
        with style():
            canvas = _row_of_boards(pen, boards, puzzle, places)
            shown.append(
                as_figure(
                    canvas,
                    f"boards-{task}-{run[0]}",
                    f"{study.title(task, run)}: "
                    + _came_of(pen, boards, puzzle, study.sizes(task, run).L_cycles),
                    "Boards decoded from z_L and z_H of one puzzle at several sub-steps.",
                )
            )
    return shown or [
        missing(
            f"No boards of {study.tasks[task]} rollouts are kept here; `air rollout` makes them."
        )
    ]


def shown_places(updates: int, substeps: int, columns: int) -> dict[int, int]:
    """Which of a rollout's sub-steps are shown, counted from 0, and their numbers, from 1.

    The first ones, then some from the end of the second segment to the last.
    """
    first = range(updates)[: columns // 2 + 1]
    second = min(2 * updates, substeps) - 1
    rest = np.linspace(second, substeps - 1, columns - len(first)).round().astype(int)
    return {place: place + 1 for place in sorted({*first, *rest.tolist()})}


def emergence_strip(study: Study, task: str) -> list[Display]:
    """Last boards of z_L and z_H of one puzzle over snapshots, for one run of each variant."""
    pen, shown = Pen.of(study, task), []
    for run, measures in one_per_variant(study.emergences(task)).items():
        strip, steps = study.strip(task, run), measures.steps
        if strip is None or pen is None:
            continue
        most = 8 if pen.look.columns <= 6 else 6  # large boards would become unreadable
        chosen = np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int)
        wrong = (strip.z_H[0] != strip.labels[0]).sum(axis=1)[chosen]
        with style():
            shown.append(
                as_figure(
                    _row_of_boards(pen, strip, 0, {place: steps[place] for place in chosen}),
                    f"strip-{task}-{run[0]}",
                    f"{study.title(task, run)}: wrong cells of z_H, snapshot by "
                    f"snapshot: {', '.join(map(str, wrong.tolist()))}",
                    "Boards decoded from z_L and z_H of one puzzle at several snapshots.",
                )
            )
    return [heading("One puzzle"), *shown] if shown else []


def _row_of_boards(pen: Pen, boards: Boards, puzzle: int, places: dict[int, int]) -> Canvas:
    """The puzzle and its answer, then z_L above z_H at each of some places, under its number."""
    inputs, labels = boards.inputs[puzzle], boards.labels[puzzle]
    inches = WIDTH / (len(places) + 1)
    canvas, axes = plt.subplots(
        2, len(places) + 1, figsize=(WIDTH, 2 * inches + 0.85), gridspec_kw={"wspace": 0.05}
    )
    pen.board(axes[0, 0], inputs, inputs, labels, inches)
    axes[0, 0].set_title("puzzle", **SMALL)
    pen.board(axes[1, 0], labels, inputs, labels, inches)
    axes[1, 0].set_title("answer", **SMALL)
    for row, level in zip(axes, "LH", strict=True):
        shows, violations = boards.of(level)
        for axis, (place, number) in zip(row[1:], places.items(), strict=True):
            board, broken = shows[puzzle][place], violations[puzzle][place]
            pen.board(axis, board, inputs, labels, inches, broken)
            axis.set_title(f"z_{level}, {number:,}", **SMALL)
    return canvas


def _came_of(pen: Pen, boards: Boards, puzzle: int, first_of_H: int) -> str:
    """In words, how a rollout ended; before its ``first_of_H``-th sub-step, z_H is untrained."""
    open_L, open_H = (
        int((of_state[puzzle][begin:] == pen.look.undecided_token).sum(axis=1).max())
        for of_state, begin in ((boards.z_L, 0), (boards.z_H, first_of_H))
    )
    undecided = f"undecided cells: at most {open_L} in z_L and {open_H} in z_H"
    return f"{ends(boards, puzzle)}; {undecided}"


def ends(boards: Boards, puzzle: int) -> str:
    """In words, whether a rollout's last board is the answer."""
    left = int((boards.z_H[puzzle][-1] != boards.labels[puzzle]).sum())
    if not left:
        return "z_H ends at the answer"
    return f"z_H ends with {left} {'cell' if left == 1 else 'cells'} wrong"


def sheet(pen: Pen, boards: Boards, puzzle: int, updates: int, title: str) -> bytes:
    """All boards of one puzzle's rollout as a PDF page: a row per segment, z_L beside z_H.

    ``updates`` are those of a segment; ``title`` says which run and puzzle it is.
    """
    inches, rows, columns = 0.85, len(boards.z_L[puzzle]) // updates + 1, 2 * updates
    inputs, labels = boards.inputs[puzzle], boards.labels[puzzle]
    high = inches * pen.look.rows / pen.look.columns
    # placed by hand: to lay out hundreds of boards takes matplotlib longer than to draw them
    wide, tall, gap = (columns + 1) * inches * 1.06 + 0.5, rows * high * 1.16 + 1.3, 0.4
    large = pen.look.cells > 256  # frames around single cells would hide them

    def place(row: int, column: float) -> Any:
        x = 0.5 + column * inches * 1.06 + gap * (column >= updates)
        y = tall - 0.8 - row * high * 1.16 - high - gap * (row > 0)
        return canvas.add_axes((x / wide, y / tall, inches / wide, high / tall))

    with style():
        canvas = plt.figure(figsize=(wide, tall))
        canvas.set_layout_engine("none")
        canvas.text(0.3 / wide, 1 - 0.35 / tall, title, fontsize=11, fontweight="bold")
        for column, (name, board) in enumerate((("puzzle", inputs), ("answer", labels))):
            axis = place(0, column)
            pen.board(axis, board, inputs, labels, inches)
            axis.set_title(name, **SMALL)
        legend = "Bold: given. Grey: undecided. Red: filled in wrongly. Question mark: padding."
        legend += "" if large else " Red frame: breaks a rule."
        canvas.text((1.0 + 2 * inches * 1.06) / wide, 1 - 1.2 / tall, legend, fontsize=8)
        for substep in range((rows - 1) * updates):
            segment, update = divmod(substep, updates)
            for begin, level in ((0, "L"), (updates, "H")):
                shows, violations = boards.of(level)
                axis, broken = place(segment + 1, begin + update), violations[puzzle][substep]
                marked = None if large else broken
                pen.board(axis, shows[puzzle][substep], inputs, labels, inches, marked)
                if segment == 0:
                    axis.set_title(f"z_{level}, update {update + 1}", **SMALL)
                if update == 0 and level == "L":
                    axis.set_ylabel(f"segment {segment + 1}", fontsize=8)
        page = io.BytesIO()
        canvas.savefig(page, format="pdf", dpi=DPI, metadata={"CreationDate": None})
        plt.close(canvas)
    return page.getvalue()


def picture(axis: Axes, cells: np.ndarray, **how: Any) -> None:
    """Cells as squares: colours ``[rows, columns, 3]``, or shades ``[rows, columns]``.

    Boards of many cells become pixels in the file: drawn as shapes they would fill megabytes.
    """
    rows, columns = cells.shape[:2]
    axis.set_rasterized(rows * columns > 256)
    axis.imshow(cells, extent=(0, columns, rows, 0), interpolation="nearest", **how)
    axis.set_aspect("equal")
    axis.grid(False)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(True)


def frames(axis: Axes, cells: np.ndarray, columns: int, colour: str, width: float) -> None:
    """A frame just inside each of some cells: all of them one path, to keep files small."""
    if len(cells):
        corners = np.array([[0.06, 0.06], [0.94, 0.06], [0.94, 0.94], [0.06, 0.94], [0.06, 0.06]])
        places = np.stack([cells % columns, cells // columns], axis=1)
        frames = Path.make_compound_path(*(Path(corners + place, closed=True) for place in places))
        axis.add_patch(PathPatch(frames, fill=False, edgecolor=colour, linewidth=width, zorder=3))


def one_per_variant(probed: dict[Run, T]) -> dict[Run, T]:
    """The first run of each variant."""
    first: dict[str, Run] = {}
    for run in probed:
        first.setdefault(run[0], run)
    return {run: probed[run] for run in first.values()}
