"""The figures of the report. Each takes the study and a task and returns a figure with its caption.

A figure for which there are no results says so in words; it is never an empty plot.
"""

import base64
import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from air.reporting.study import TASKS, TRAITS, Study

STYLE = Path(__file__).with_name("style.mplstyle")
STATE_COLOURS = {"z_L": "#D55E00", "z_H": "#0072B2"}
CONDITION_COLOURS = {"normal": "#999999", "freeze_H": "#0072B2", "freeze_L": "#D55E00"}
CONTRASTS = {
    "d_nbr": "on row, column, box",
    "d_nbr4": "on 4 neighbours",
    "d_nbr8": "on 8 neighbours",
    "d_win5": "on 5 x 5 window",
    "d_ent": "entropy (H - L)",
    "d_viol": "on violations",
}
CONDITIONS = {"normal": "nothing frozen", "freeze_H": "z_H frozen", "freeze_L": "z_L frozen"}


@dataclass(frozen=True)
class Shown:
    """Something a notebook shows: HTML."""

    html: str

    def _repr_html_(self) -> str:
        return self.html


def missing(what: str) -> Shown:
    """A sentence in the place of something that has no results yet."""
    return Shown(f'<p class="missing">{escape(what)}</p>')


def as_figure(canvas: Canvas, alt: str, caption: str) -> Shown:
    """A figure as an SVG image that stands alone in the page."""
    file = io.BytesIO()
    canvas.savefig(file, format="svg", metadata={"Date": None})
    plt.close(canvas)
    image = base64.b64encode(file.getvalue()).decode()
    return Shown(
        f'<figure><img src="data:image/svg+xml;base64,{image}" alt="{escape(alt, quote=True)}">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


@contextmanager
def style() -> Iterator[None]:
    with mpl.rc_context(), plt.style.context(STYLE):
        yield


def puzzles(study: Study, task: str) -> Shown:
    """The first training puzzles, question above answer."""
    look, told = study.look(task), study.statistics(task)
    if look is None or told is None:
        return missing(f"No {TASKS[task]} puzzles have been made yet.")
    inputs, labels = (np.array(told["examples"][name]) for name in ("inputs", "labels"))
    with style():
        canvas, axes = plt.subplots(2, len(inputs), figsize=(7.2, 3.7), squeeze=False)
        for place, (question, answer) in enumerate(zip(inputs, labels, strict=True)):
            draw_board(axes[0, place], question, look, question, answer, inches=1.7)
            draw_board(axes[1, place], answer, look, question, answer, inches=1.7)
        return as_figure(
            canvas,
            f"{len(inputs)} {TASKS[task]} puzzles with their answers.",
            f"{TASKS[task]}: training puzzles (above) and their answers (below).",
        )


def traits(study: Study, task: str) -> Shown:
    """Histograms of what the puzzles of both splits are like."""
    told = study.statistics(task)
    if told is None:
        return missing(f"No {TASKS[task]} puzzles have been made yet.")
    splits = told["splits"]
    every = splits["train"]["traits"]
    names = [name for name in every if every[name]["min"] < every[name]["max"]]
    same = [f"{TRAITS[name]} {every[name]['min']}" for name in every if name not in names]
    alike = f" The same for all training puzzles: {', '.join(same)}." if same else ""
    if not names:
        return missing(alike.strip())
    with style():
        canvas, axes = plt.subplots(
            1, len(names), figsize=(3.6 * min(len(names), 2), 2.3), squeeze=False
        )
        for axis, name in zip(axes[0], names, strict=True):
            for split, colour in (("train", "#0072B2"), ("test", "#D55E00")):
                bars, count = splits[split]["traits"][name]["bars"], splits[split]["puzzles"]
                edges = bars["start"] + bars["width"] * np.arange(len(bars["counts"]) + 1) - 0.5
                # shares per unit, since the two splits may have bars of different width
                heights = np.array(bars["counts"]) / count / bars["width"]
                axis.stairs(heights, edges, color=colour, linewidth=1.4, label=split)
            axis.set_xlabel(TRAITS[name])
            axis.set_yticks([])
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes[0, 0].set_ylabel("share of puzzles")
        axes[0, -1].legend(loc="upper right")
        return as_figure(
            canvas,
            f"Histograms of {TASKS[task]} puzzles: {', '.join(TRAITS[name] for name in names)}.",
            f"{TASKS[task]}: how training and test puzzles are distributed.{alike}",
        )


def accuracy(study: Study) -> Shown:
    """Exact accuracy of every run, by variant, both tasks."""
    tasks = [task for task in TASKS if len(study.runs(task))]
    if not tasks:
        return missing("No training run has been evaluated yet.")
    with style():
        canvas, axes = plt.subplots(1, len(tasks), squeeze=False)
        most = max(len(study.params[task]["variants"]) for task in tasks)
        canvas.set_size_inches(7.2, 1.3 + 0.3 * max(most, 2))
        for axis, task in zip(axes[0], tasks, strict=True):
            names = study.params[task]["variants"]
            for place, name in enumerate(names):
                runs = study.accuracy(task, name)
                says = study.variants[name]
                colour = "#D55E00" if says["n_L"] == says["n_H"] else "#0072B2"
                axis.plot(runs, [place] * len(runs), "o", color=colour, alpha=0.45, markersize=5)
                if len(runs):
                    axis.plot(runs.mean(), place, "|", color=colour, markersize=16, mew=2.2)
            axis.set_yticks(range(len(names)), names)
            axis.set_ylim(len(names) - 0.5, -0.5)
            axis.set_xlim(left=0)
            axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            axis.set_xlabel("test puzzles solved")
            axis.set_title(TASKS[task])
        return as_figure(
            canvas,
            "Dot plot: exact accuracy of every training run, one row per variant.",
            "Share of test puzzles solved, one dot per training run, a bar at the mean of a "
            "variant's runs. Blue: the input enters the two updates differently; orange: alike.",
        )


def depth(study: Study, task: str) -> Shown:
    """Exact accuracy after each segment."""
    runs = study.runs(task)
    if not len(runs):
        return missing(f"No {TASKS[task]} run has been evaluated yet.")
    with style():
        canvas, axis = plt.subplots(figsize=(7.2, 2.6))
        for colour, (name, rows) in _coloured(runs.groupby("variant", sort=False)):
            values = np.array(rows["exact_accuracy_by_segment"].tolist())
            segments = np.arange(1, values.shape[1] + 1)
            for run in values:
                axis.plot(segments, run, color=colour, alpha=0.3, linewidth=1)
            axis.plot(segments, values.mean(axis=0), color=colour, label=name, marker="o", ms=3)
        axis.set_ylim(bottom=0)
        axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("segments run")
        axis.set_ylabel("test puzzles solved")
        axis.set_title(f"{TASKS[task]}: what more segments bring")
        axis.legend(ncols=4, loc="best")
        return as_figure(
            canvas,
            f"Line plot: {TASKS[task]} exact accuracy against the number of segments.",
            "Share of test puzzles solved if the answer is read after so many segments: thin lines "
            "are runs, thick ones means.",
        )


def training(study: Study, task: str) -> Shown:
    """Loss and exact accuracy while training."""
    curves = study.curves(task)
    if not curves:
        return missing(f"No {TASKS[task]} run has been trained yet.")
    with style():
        canvas, axes = plt.subplots(1, 2, figsize=(7.2, 2.8))
        by_variant: dict[str, list[Any]] = {}
        for (variant, _), curve in curves.items():
            by_variant.setdefault(variant, []).append(curve)
        for colour, (variant, runs) in _coloured(by_variant.items()):
            for number, curve in enumerate(runs):
                label = variant if number == 0 else None
                axes[0].plot(curve["step"], curve["lm_loss"], color=colour, label=label, alpha=0.8)
                axes[1].plot(curve["step"], curve["exact_accuracy"], color=colour, alpha=0.8)
        axes[0].set_ylabel("stablemax cross-entropy (nats)")
        axes[0].set_title(f"{TASKS[task]}: loss per cell")
        axes[1].set_ylabel("puzzles solved when halted")
        axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes[1].set_ylim(bottom=0)
        axes[1].set_title("training puzzles solved")
        axes[0].legend()
        for axis in axes:
            axis.set_xlabel("optimiser steps")
        return as_figure(
            canvas,
            f"Two line plots: {TASKS[task]} training loss and training accuracy against steps.",
            "Means over the steps since the row before. Accuracy counts puzzles at the step at "
            "which their slot halts.",
        )


def rollout_curves(study: Study, task: str) -> Shown:
    """Cell accuracy and undecided share of both states after every sub-step."""
    probed = study.probe(task, "rollout")
    if not probed:
        return missing(f"No {TASKS[task]} run has been rolled out yet.")
    with style():
        canvas, axes = plt.subplots(
            2, len(probed), squeeze=False, sharex=True, sharey="row", figsize=(7.2, 4.2)
        )
        for column, ((variant, seed), measures) in zip(axes.T, probed.items(), strict=True):
            for axis, entry in zip(column, ("cell_accuracy", "undecided"), strict=True):
                for state, colour in STATE_COLOURS.items():
                    mean = np.array(measures[state][entry]["mean"])
                    error = np.nan_to_num(np.array(measures[state][entry]["se"], dtype=float))
                    places = np.arange(1, len(mean) + 1)
                    axis.fill_between(places, mean - error, mean + error, color=colour, alpha=0.2)
                    axis.plot(places, mean, color=colour, label=state)
                axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            column[0].set_title(f"{variant}, seed {seed}")
            column[1].set_xlabel("sub-step")
        for axis in axes[:, 0]:  # only now: limits set before would hide what is higher
            axis.set_ylim(0, max(axis.get_ylim()[1], 0.02))
        axes[0, 0].set_ylabel("cells right")
        axes[1, 0].set_ylabel("cells undecided")
        axes[0, 0].legend(loc="lower right")
        return as_figure(
            canvas,
            f"Line plots: {TASKS[task]} cell accuracy and undecided share of z_L and z_H.",
            "What the two states show when decoded after every update, over a whole rollout: mean "
            "over puzzles, band of one standard error.",
        )


def rollout_inside(study: Study, task: str) -> Shown:
    """What lies under the boards: margins, agreement, distances between segments, depth."""
    probed = study.probe(task, "rollout")
    if not probed:
        return missing(f"The rollouts of no {TASKS[task]} run have been looked at yet.")
    with style():
        canvas, axes = plt.subplots(2, 2, figsize=(7.2, 5.0))
        for colour, ((variant, seed), measures) in _coloured(probed.items()):
            label = f"{variant}, seed {seed}"
            for state, line in (("z_L", ":"), ("z_H", "-")):
                entry = measures[state]
                for axis, name, first in (
                    (axes[0, 0], "margin", 1),
                    (axes[1, 0], "distance", 2),
                    (axes[1, 1], "exact_by_segment", 1),
                ):
                    mean = np.array(entry[name]["mean"], dtype=float)
                    shown = label if state == "z_H" else None
                    axis.plot(np.arange(len(mean)) + first, mean, line, color=colour, label=shown)
            agreement = np.array(measures["agreement"]["mean"], dtype=float)
            axes[0, 1].plot(np.arange(len(agreement)) + 1, agreement, color=colour)
        for axis, title, y, x in (
            (axes[0, 0], "How sure the states are", "margin of the best token", "sub-step"),
            (axes[0, 1], "Where both show the same", "share of cells", "sub-step"),
            (axes[1, 0], "How far they still move", "relative change", "segment"),
            (axes[1, 1], "Puzzles solved by depth", "share of puzzles", "segment"),
        ):
            axis.set_title(title)
            axis.set_ylabel(y)
            axis.set_xlabel(x)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_ylim(bottom=0)
        for axis in (axes[0, 1], axes[1, 1]):
            axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        axes[0, 0].legend()
        return as_figure(
            canvas,
            f"Four line plots of {TASKS[task]} rollouts: margin, agreement, change, accuracy.",
            f"{TASKS[task]}, means over puzzles; z_H solid, z_L dotted. Margin: lead of the best "
            "token over the second on the cells to be filled in. Change: distance of a state from "
            "itself one segment before, 0 at a fixed point.",
        )


def rollout_boards(study: Study, task: str, puzzle: int = 0, columns: int = 6) -> list[Shown]:
    """Decoded boards of z_L and z_H of one puzzle over sub-steps, for every probed run."""
    look, shown = study.look(task), []
    for run, measures in study.probe(task, "rollout").items():
        boards = study.boards(task, run)
        if boards is None or look is None:
            continue
        updates = measures["updates_per_segment"]
        substeps = len(boards["z_L"][puzzle])
        first = list(range(updates))[: columns // 2 + 1]
        rest = np.linspace(2 * updates - 1, substeps - 1, columns - len(first)).round().astype(int)
        chosen = sorted({*first, *rest.tolist()})
        with style():
            canvas, axes = plt.subplots(
                2, len(chosen) + 1, figsize=(7.2, 2.6), gridspec_kw={"wspace": 0.05}
            )
            inputs, labels = boards["inputs"][puzzle], boards["labels"][puzzle]
            inches = 7.2 / (len(chosen) + 1)
            draw_board(axes[0, 0], inputs, look, inputs, labels, inches)
            axes[0, 0].set_title("puzzle", fontsize=8)
            draw_board(axes[1, 0], labels, look, inputs, labels, inches)
            axes[1, 0].set_title("answer", fontsize=8)
            for row, state in zip(axes, ("z_L", "z_H"), strict=True):
                for axis, substep in zip(row[1:], chosen, strict=True):
                    draw_board(axis, boards[state][puzzle][substep], look, inputs, labels, inches)
                    axis.set_title(f"{state}, {substep + 1}", fontsize=8)
            variant, seed = run
            shown.append(
                as_figure(
                    canvas,
                    f"Boards decoded from z_L and z_H of {variant} at sub-steps of one puzzle.",
                    f"{variant}, seed {seed}: the boards that z_L (above) and z_H (below) show "
                    "after the sub-step named. Bold: given. Red: wrong. Grey: undecided.",
                )
            )
    return shown or [missing(f"No {TASKS[task]} boards have been kept yet.")]


def draw_board(
    axis: Axes,
    board: np.ndarray,
    look: dict[str, Any],
    inputs: np.ndarray,
    labels: np.ndarray,
    inches: float,
) -> None:
    """Draw one board, ``inches`` wide; ``look`` is the header of the task's data file."""
    rows, columns = look["rows"], look["columns"]
    fills, symbols, undecided = look["look"]["fills"], look["vocabulary"], look["undecided_token"]
    axis.set_xlim(0, columns)
    axis.set_ylim(rows, 0)
    axis.set_aspect("equal")
    axis.grid(False)
    axis.set_xticks([])
    axis.set_yticks([])
    for spine in axis.spines.values():
        spine.set_visible(True)
    size = 72 * inches / columns * 0.5
    for cell, token in enumerate(board.tolist()):
        row, column = divmod(cell, columns)
        wrong = token != labels[cell] and token != inputs[cell] and token != undecided
        fill = "#d0d0d0" if token == undecided else fills[token]
        if fill:
            axis.add_patch(Rectangle((column, row), 1, 1, facecolor=fill, edgecolor="none"))
        if wrong:
            axis.add_patch(
                Rectangle((column, row), 1, 1, facecolor=to_rgba("#CC3311", 0.35), edgecolor="none")
            )
        if token != undecided and not (fills[token] and symbols[token] in "#o"):
            given = inputs[cell] == labels[cell]
            axis.text(
                column + 0.5,
                row + 0.52,
                symbols[token],
                ha="center",
                va="center",
                fontsize=size,
                fontweight="bold" if given else "normal",
            )
    box = look["look"]["box"]
    for line in range(1, columns):
        axis.axvline(line, color="#444444", linewidth=1.1 if box and line % box[1] == 0 else 0.25)
    for line in range(1, rows):
        axis.axhline(line, color="#444444", linewidth=1.1 if box and line % box[0] == 0 else 0.25)


def freeze(study: Study, task: str) -> Shown:
    """Content changes and mask flips of each state: normal against the other state frozen."""
    probed = study.probe(task, "freeze")
    if not probed:
        return missing(f"No {TASKS[task]} run has been frozen yet.")
    by_variant: dict[str, list[Any]] = {}
    for (variant, _), measures in probed.items():
        by_variant.setdefault(variant, []).append(measures)
    with style():
        canvas, axes = plt.subplots(
            1, len(by_variant), squeeze=False, sharey=True, figsize=(7.2, 2.9)
        )
        groups = [("z_L", "freeze_H"), ("z_H", "freeze_L")]
        kinds = {"content_changes": "", "mask_flips": "//"}
        for axis, (variant, runs) in zip(axes[0], by_variant.items(), strict=True):
            for place, (state, frozen) in enumerate(groups):
                for bar, (condition, kind) in enumerate(
                    (condition, kind) for kind in kinds for condition in ("normal", frozen)
                ):
                    values = [run[condition][state][kind]["mean"] for run in runs]
                    x = place * 5 + bar + 0.3 * (bar > 1)
                    axis.bar(
                        x,
                        np.mean(values),
                        width=0.9,
                        color=CONDITION_COLOURS[condition],
                        hatch=kinds[kind],
                        edgecolor="white",
                    )
                    axis.plot([x] * len(values), values, "k.", markersize=4)
            axis.set_xticks([1.65, 6.65], ["of z_L", "of z_H"])
            axis.set_title(variant)
            axis.grid(axis="x", visible=False)
        axes[0, 0].set_ylabel("changes per puzzle in a rollout")
        canvas.legend(
            handles=[
                *(
                    Rectangle((0, 0), 1, 1, facecolor=CONDITION_COLOURS[name], label=label)
                    for name, label in CONDITIONS.items()
                ),
                Rectangle((0, 0), 1, 1, facecolor="#cccccc", label="content changes"),
                Rectangle((0, 0), 1, 1, facecolor="#cccccc", hatch="//", edgecolor="white",
                          label="mask flips"),
            ],
            loc="outside lower center",
            ncols=5,
        )  # fmt: skip
        return as_figure(
            canvas,
            f"Bar chart: {TASKS[task]} changes of each state, normal and with the other frozen.",
            "Cells that change between consecutive decoded boards, summed over a rollout. Content "
            "changes leave a cell's membership in the mask as it is, mask flips change it. Bars "
            "are means over runs, dots the runs.",
        )


def freeze_transitions(study: Study, task: str) -> Shown:
    """Content changes per transition, for both states and all conditions."""
    probed = study.probe(task, "freeze")
    if not probed:
        return missing(f"No {TASKS[task]} run has been frozen yet.")
    with style():
        canvas, axes = plt.subplots(
            2, len(probed), squeeze=False, sharex=True, sharey="row", figsize=(7.2, 4.0)
        )
        for column, ((variant, seed), measures) in zip(axes.T, probed.items(), strict=True):
            for axis, (state, frozen) in zip(
                column, (("z_L", "freeze_H"), ("z_H", "freeze_L")), strict=True
            ):
                for condition in ("normal", frozen):
                    values = measures[condition][state]["content_changes"]["per_transition"]
                    axis.plot(
                        np.arange(1, len(values) + 1),
                        values,
                        color=CONDITION_COLOURS[condition],
                        label=CONDITIONS[condition],
                    )
                axis.legend(loc="upper right")
            column[0].set_title(f"{variant}, seed {seed}")
            column[1].set_xlabel("transition between sub-steps")
        for axis in axes[:, 0]:
            axis.set_ylim(bottom=0)
        axes[0, 0].set_ylabel("changes of z_L")
        axes[1, 0].set_ylabel("changes of z_H")
        return as_figure(
            canvas,
            f"Line plots: {TASKS[task]} content changes of each state along a rollout.",
            "Content changes per puzzle at every transition of a rollout, mean over puzzles.",
        )


def attention(study: Study, task: str) -> Shown:
    """The contrasts of attention per layer, for control and violation-adjacent cells."""
    probed = study.probe(task, "attention")
    if not probed:
        return missing(f"The attention of no {TASKS[task]} run has been measured yet.")
    first = next(iter(probed.values()))
    contrasts = [name for name in first["control"] if name.startswith("d_")]
    with style():
        canvas, axes = plt.subplots(
            len(probed),
            len(contrasts),
            squeeze=False,
            sharex=True,
            sharey="col",
            figsize=(7.2, 0.6 + 1.9 * len(probed)),
        )
        for row, ((variant, seed), measures) in zip(axes, probed.items(), strict=True):
            for axis, contrast in zip(row, contrasts, strict=True):
                for place, name in enumerate(("control", "adjacent")):
                    entry = measures[name][contrast]
                    mean = np.array(entry["mean"], dtype=float)
                    ends = np.array(entry["interval"], dtype=float).T
                    x = np.arange(len(mean)) + (place - 0.5) * 0.4
                    axis.bar(
                        x,
                        mean,
                        width=0.38,
                        color=("#56B4E9", "#E69F00")[place],
                        yerr=np.abs(ends - mean),
                        error_kw={"elinewidth": 1, "capsize": 2},
                    )
                axis.axhline(0, color="#444444", linewidth=0.8)
                axis.xaxis.set_major_locator(MaxNLocator(integer=True))
                axis.grid(axis="x", visible=False)
            row[0].set_ylabel(f"{variant}, seed {seed}")
        for axis, contrast in zip(axes[0], contrasts, strict=True):
            axis.set_title(CONTRASTS.get(contrast, contrast), fontsize=8)
        for axis in axes[-1]:
            axis.set_xlabel("layer")
        canvas.legend(
            handles=[
                Rectangle((0, 0), 1, 1, facecolor="#56B4E9", label="control cells"),
                Rectangle((0, 0), 1, 1, facecolor="#E69F00", label="violation-adjacent cells"),
            ],
            loc="outside lower center",
            ncols=2,
        )
        return as_figure(
            canvas,
            f"Bar chart: {TASKS[task]} attention contrasts between L- and H-updates per layer.",
            "Attention of L-updates minus that of H-updates (entropy: the reverse), so that above "
            "zero the L-update is the more local. Bars are means over query cells, whiskers "
            "95 % intervals from drawing whole puzzles again.",
        )


def _coloured(groups: Any) -> Iterator[tuple[str, Any]]:
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for number, group in enumerate(groups):
        yield colours[number % len(colours)], group
