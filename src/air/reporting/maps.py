"""Where one cell looks: layer by layer, segment by segment, head by head.

The cell is the query cell nearest to the middle of a puzzle. Of a large board whose neighbourhoods
are small (the paper's Maze), the part around the cell is also shown alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path

from air.reporting.boards import SMALL, WRONG, Pen, frames, one_per_variant, picture
from air.reporting.display import WIDTH, Display, as_figure, folded, missing, style
from air.reporting.study import Run, Study
from air.results.attention import Maps

NEAR = "#0072B2"
RADIUS = 5  # cells to each side of the query cell, where a part of the board is shown, as published
ACROSS = 6  # boards and maps of all layers in one row
MOST = 8  # segments or heads side by side: with more, they could not be read


@dataclass(frozen=True)
class View:
    """One cell of a puzzle, and the part of the board that is drawn: all of it, or a window."""

    pen: Pen  #: of that part
    maps: Maps
    puzzle: int
    board: tuple[int, int]  #: rows and columns of the whole board
    rows: slice
    columns: slice

    @classmethod
    def whole(cls, pen: Pen, maps: Maps, puzzle: int) -> "View":
        """All of the board."""
        board = (pen.look.rows, pen.look.columns)
        return cls(pen, maps, puzzle, board, slice(0, board[0]), slice(0, board[1]))

    def window(self) -> "View | None":
        """The cells around the query cell, on the board's edge moved inwards.

        None where the board is hardly larger, or where the neighbourhood reaches further.
        """
        across = 2 * RADIUS + 1
        if min(self.board) <= across:
            return None
        place = divmod(int(self.maps.query[self.puzzle]), self.board[1])
        first = [
            min(max(at - RADIUS, 0), size - across)
            for at, size in zip(place, self.board, strict=True)
        ]
        rows, columns = (slice(begin, begin + across) for begin in first)
        look = self.pen.look
        drawn = look.look.model_copy(update={"box": None})  # boxes would be cut anywhere
        look = look.model_copy(update={"rows": across, "columns": across, "look": drawn})
        window = replace(self, pen=replace(self.pen, look=look), rows=rows, columns=columns)
        near = self.maps.near[self.puzzle]
        return window if window.part(near).sum() == near.sum() else None

    def part(self, cells: np.ndarray) -> np.ndarray:
        """Of cells ``[S]``, the part that is drawn: ``[rows, columns]``."""
        return cells.reshape(self.board)[self.rows, self.columns]

    @property
    def query(self) -> np.ndarray:
        """The query cell, by its place in the part that is drawn."""
        row, column = divmod(int(self.maps.query[self.puzzle]), self.board[1])
        across = self.columns.stop - self.columns.start
        return np.array([(row - self.rows.start) * across + column - self.columns.start])

    @property
    def proportion(self) -> float:
        """Height by width."""
        return (self.rows.stop - self.rows.start) / (self.columns.stop - self.columns.start)

    def on_near(self, attention: np.ndarray) -> np.ndarray:
        """The share of attention ``[..., S]`` that is on the cell's neighbourhood: ``[...]``."""
        return np.asarray(attention[..., self.maps.near[self.puzzle]].sum(axis=-1, dtype=float))

    def draw_board(
        self, axis: Axes, board: np.ndarray, inches: float, violations: np.ndarray | None = None
    ) -> None:
        """Draw a board ``[S]``, and frame the query cell."""
        inputs, labels = self.maps.inputs[self.puzzle], self.maps.labels[self.puzzle]
        board, inputs, labels = (self.part(cells).ravel() for cells in (board, inputs, labels))
        self.pen.board(axis, board, inputs, labels, inches)
        if violations is not None:
            self._mark(axis, violations, inches)
        frames(axis, self.query, self.pen.look.columns, "black", 1.8)

    def draw_map(
        self,
        axis: Axes,
        attention: np.ndarray,
        darkest: float,
        inches: float,
        violations: np.ndarray | None = None,
    ) -> None:
        """Draw the cell's attention ``[S]``, black at ``darkest``."""
        columns = self.pen.look.columns
        picture(axis, self.part(attention).astype(float), cmap="Greys", vmin=0, vmax=darkest)
        if violations is not None:
            self._mark(axis, violations, inches)
        _outline(
            axis, self.part(self.maps.near[self.puzzle]), NEAR, min(1.2, 14 * inches / columns)
        )
        frames(axis, self.query, columns, "black", min(1.4, 18 * inches / columns))

    def _mark(self, axis: Axes, violations: np.ndarray, inches: float) -> None:
        width = min(0.8, 9 * inches / self.pen.look.columns)
        _outline(axis, self.part(violations), WRONG, width, inside=0.08)


def by_layer(study: Study, task: str, puzzle: int = 0) -> list[Display]:
    """Where one query cell looks, in L- and H-update, in every layer."""
    shown = []
    for run, maps, pen in _kept(study, task):
        place, where = _place(study, task, run, maps, puzzle)
        view = View.whole(pen, maps, puzzle)
        on_near = view.on_near(maps.attention[puzzle][place]).mean(axis=-1)
        with style():
            shown.append(
                as_figure(
                    _layers(view, place),
                    f"map-{task}-{run[0]}",
                    f"{where}: this cell gives its neighbourhood {on_near[0]:.0%} of its attention "
                    f"in the L-update and {on_near[1]:.0%} in the H-update",
                    "Heat maps of the attention of one cell, of L-update and H-update, by layer.",
                )
            )
    return shown or [
        missing(
            f"No attention maps of {study.tasks[task]} are kept here; `air attention` makes them."
        )
    ]


def _layers(view: View, place: int) -> Canvas:
    """What z_H shows and the L-update's attention of the query cell, by layer; the answer, the H's.

    One beside the other where a row can hold both, else one above the other. ``place`` says at
    which of the segments looked at. The window, if any, is shown below.
    """
    maps, puzzle = view.maps, view.puzzle
    violations, shows = maps.violations[puzzle][place], maps.board[puzzle][place]
    rows = maps.attention[puzzle][place]  # [2, layers, S]
    layers = rows.shape[1]
    across = layers + 1 if 2 * (layers + 1) > ACROSS else 2 * (layers + 1)
    down = 2 * (layers + 1) // across
    inches = WIDTH / across
    window = view.window()
    views = [view, window] if window else [view]
    height = sum(down * inches * one.proportion + 0.45 * down for one in views)
    canvas, axes = plt.subplots(down * len(views), across, figsize=(WIDTH, height), squeeze=False)
    blocks = axes.reshape(len(views), 2, layers + 1)
    for one, block in zip(views, blocks, strict=True):
        one.draw_board(block[0, 0], shows, inches, violations)
        one.draw_board(block[1, 0], maps.labels[puzzle], inches)
        for axis, title in zip(block[:, 0], ("z_H shows", "answer"), strict=True):
            axis.set_title(title, **SMALL)
        for level, (row, of_level) in enumerate(zip(block[:, 1:], rows, strict=True)):
            for layer, (axis, cells) in enumerate(zip(row, of_level, strict=True)):
                one.draw_map(axis, cells, float(rows[:, layer].max()), inches, violations)
                share = view.on_near(cells) if one is view else one.part(cells).sum()
                title = f"{'LH'[level]}, layer {layer + 1}: {share:.0%}"
                axis.set_title(title if one is view else f"{title} here", **SMALL)
    if window:
        corner, side = (window.columns.start, window.rows.start), 2 * RADIUS + 1
        for axis in blocks[0].flat:
            frame = Rectangle(corner, side, side, fill=False, edgecolor="black", linewidth=0.8)
            axis.add_patch(frame)
    return canvas


def by_segment(study: Study, task: str, puzzle: int = 0) -> list[Display]:
    """Where the same cell looks at each segment looked at, in the last layer."""
    shown = []
    for run, maps, pen in _kept(study, task):
        view = View.whole(pen, maps, puzzle)
        segments = study.attentions(task)[run].segments
        layer = maps.attention.shape[3] - 1
        first, last = view.on_near(maps.attention[puzzle][[0, -1], :, layer])
        with style():
            shown.append(
                folded(
                    as_figure(
                        _segments(view.window() or view, segments, layer),
                        f"segments-{task}-{run[0]}",
                        f"{study.title(task, run)}, layer {layer + 1}: {first[0]:.0%} of the "
                        f"L-update's attention and {first[1]:.0%} of the H-update's are on the "
                        f"neighbourhood at segment {segments[0] + 1}, {last[0]:.0%} and "
                        f"{last[1]:.0%} at segment {segments[-1] + 1}",
                        "Heat maps of the attention of one cell at several segments: what z_H "
                        "shows, the L-update, the H-update.",
                    ),
                    study.title(task, run).partition(", ")[2],
                )
            )
    return shown or [
        missing(
            f"No attention maps of {study.tasks[task]} are kept here; `air attention` makes them."
        )
    ]


def _segments(view: View, segments: list[int], layer: int) -> Canvas:
    """z_H's board, the L-update's and the H-update's attention, a column per segment."""
    maps, puzzle = view.maps, view.puzzle
    places = spread(len(segments))
    of_layer = maps.attention[puzzle][places, :, layer]  # [columns, 2, S]
    inches = WIDTH / len(places)
    height = 3 * min(inches, 1.5) * view.proportion + 1.0
    canvas, axes = plt.subplots(3, len(places), figsize=(WIDTH, height), squeeze=False)
    for column, place, both in zip(axes.T, places, of_layer, strict=True):
        violations = maps.violations[puzzle][place]
        view.draw_board(column[0], maps.board[puzzle][place], min(inches, 1.5), violations)
        column[0].set_title(f"segment {segments[place] + 1}", **SMALL)
        for axis, cells in zip(column[1:], both, strict=True):
            view.draw_map(axis, cells, float(of_layer.max()), inches, violations)
            axis.set_title(f"{view.on_near(cells):.0%}", **SMALL)
    for axis, title in zip(axes[:, 0], ("z_H shows", "L-update", "H-update"), strict=True):
        axis.set_ylabel(title, fontsize=8)
    return canvas


def by_head(study: Study, task: str, puzzle: int = 0) -> list[Display]:
    """Where each head looks for the same cell, beside their mean, in the last layer."""
    shown = []
    for run, maps, pen in _kept(study, task):
        if maps.heads is None:  # a study from before they were kept
            continue
        place, where = _place(study, task, run, maps, puzzle)
        view = View.whole(pen, maps, puzzle)
        layer = maps.heads.shape[3] - 1
        on_near = view.on_near(maps.heads[puzzle][place][:, layer])  # [2, heads]
        of_L, of_H = (f"{found.min():.0%} to {found.max():.0%}" for found in on_near)
        with style():
            shown.append(
                folded(
                    as_figure(
                        _heads(view.window() or view, maps.heads[puzzle][place][:, layer]),
                        f"heads-{task}-{run[0]}",
                        f"{where}, layer {layer + 1}: heads give the neighbourhood {of_L} of their "
                        f"attention in the L-update, {of_H} in the H-update",
                        "Heat maps of the attention of one cell, L-update above H-update, by head.",
                    ),
                    study.title(task, run).partition(", ")[2],
                )
            )
    return shown or [missing(f"No attention maps of {study.tasks[task]} by head are kept here.")]


def _heads(view: View, heads: np.ndarray) -> Canvas:
    """The mean over ``heads`` ([2, heads, S]), then each of them, L above H."""
    numbers = spread(heads.shape[1])
    mean = heads.mean(axis=1, dtype=float)
    columns = {"mean": mean} | {f"head {number}": heads[:, number] for number in numbers}
    inches = WIDTH / len(columns)
    height = 2 * min(inches, 1.5) * view.proportion + 0.9
    canvas, axes = plt.subplots(2, len(columns), figsize=(WIDTH, height), squeeze=False)
    for column, (title, both) in zip(axes.T, columns.items(), strict=True):
        for axis, cells in zip(column, both, strict=True):
            view.draw_map(axis, cells, float(both.max()), inches)
            axis.set_title(f"{view.on_near(cells):.0%}", **SMALL)
        column[0].set_title(f"{title}\n{view.on_near(both[0]):.0%}", **SMALL)
    for axis, title in zip(axes[:, 0], ("L-update", "H-update"), strict=True):
        axis.set_ylabel(title, fontsize=8)
    return canvas


def spread(count: int, most: int = MOST) -> list[int]:
    """Places of ``count`` things of which at most ``most`` are shown: first, last, evenly between.

    >>> spread(3), spread(16, 4)
    ([0, 1, 2], [0, 5, 10, 15])
    """
    return np.linspace(0, count - 1, min(count, most)).round().astype(int).tolist()


def _kept(study: Study, task: str) -> Iterator[tuple[Run, Maps, Pen]]:
    """The maps of one run of each variant, where there are some."""
    pen = Pen.of(study, task)
    for run in one_per_variant(study.attentions(task)):
        maps = study.maps(task, run)
        if maps is not None and pen is not None and len(maps.query):
            yield run, maps, pen


def _place(study: Study, task: str, run: Run, maps: Maps, puzzle: int) -> tuple[int, str]:
    """The segment with most to say, by its place among those looked at, and in words.

    It is the first at which the board still breaks a rule.
    """
    place = int(maps.violations[puzzle].any(axis=1).argmax())
    segments = study.attentions(task)[run].segments
    return place, f"{study.title(task, run)}, segment {segments[place] + 1}"


def _outline(axis: Axes, cells: np.ndarray, colour: str, width: float, inside: float = 0.0) -> None:
    """A line around a set of cells, bool ``[rows, columns]``: one path, to keep files small.

    It runs on the cells' edges, or ``inside`` the set by that share of a cell.
    """
    kept = np.pad(cells, 1)
    edges = []
    for row, column in np.argwhere(cells):
        around = kept[row : row + 3, column : column + 3]
        up, left, right, down = around[0, 1], around[1, 0], around[1, 2], around[2, 1]
        # where the next cell belongs to the set, too, the line goes on to it
        x0, x1 = column + inside * (not left), column + 1 - inside * (not right)
        y0, y1 = row + inside * (not up), row + 1 - inside * (not down)
        sides = {
            ((x0, y0), (x1, y0)): up, ((x0, y1), (x1, y1)): down,
            ((x0, y0), (x0, y1)): left, ((x1, y0), (x1, y1)): right,
        }  # fmt: skip
        edges += [Path(ends) for ends, goes_on in sides.items() if not goes_on]
    if edges:
        line = Path.make_compound_path(*edges)
        patch = PathPatch(line, fill=False, edgecolor=colour, linewidth=width, zorder=2.5)
        patch.set_clip_on(False)
        axis.add_patch(patch)
