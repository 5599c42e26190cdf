"""The charts of the report. Each takes the study and a task and returns a figure.

A chart's title says in words and numbers what came out, in the runs that there are. A chart for
which there are no results says so in a sentence; it is never an empty plot.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TypeVar

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

from air.reporting.claims.x3_split_first import SplitFirst, When, reached, split_of
from air.reporting.display import WIDTH, Display, as_figure, missing, style
from air.reporting.sections import measure
from air.reporting.study import EXPERIMENTS, Run, Study
from air.results.attention import AttentionMeasures, Cells, Overall
from air.results.emergence import EmergenceMeasures, Snapshot
from air.results.freeze import Effect, FreezeMeasures
from air.results.record import Curve, Maybe
from air.tasks.words import Measure

K = TypeVar("K")
T = TypeVar("T")
STATE_COLOURS = {"z_L": "#D55E00", "z_H": "#0072B2"}
CONDITION_COLOURS = {"normal": "#999999", "freeze_H": "#0072B2", "freeze_L": "#D55E00"}
CELL_COLOURS = {"control": "#56B4E9", "adjacent": "#E69F00"}
CONDITIONS = {"normal": "nothing frozen", "freeze_H": "z_H frozen", "freeze_L": "z_L frozen"}
MOVING = {"freeze_H": "z_L", "freeze_L": "z_H"}  # the state that is looked at
ASIDE = 0.25  # opacity of single runs where their mean is drawn


def traits(study: Study, task: str) -> Display:
    """Histograms of what the puzzles of both splits are like."""
    found = study.statistics(task)
    if found is None:
        return missing(f"No {study.tasks[task]} puzzles have been made yet.")
    every = found.splits.train.traits
    names = [name for name in every if every[name].min < every[name].max]
    if not names:
        same = ", ".join(f"{name} {every[name].min}" for name in every)
        return missing(f"All training puzzles have the same: {same}.")
    with style():
        canvas, axes = plt.subplots(1, len(names), figsize=(WIDTH, 2.5), squeeze=False)
        for axis, name in zip(axes[0], names, strict=True):
            for split, colour in (("train", "#0072B2"), ("test", "#D55E00")):
                bars, count = (of := found.splits.of(split)).traits[name].bars, of.puzzles
                edges = bars.start + bars.width * np.arange(len(bars.counts) + 1) - 0.5
                # shares per unit, since the two splits may have bars of different width
                heights = np.array(bars.counts) / count / bars.width
                axis.stairs(heights, edges, color=colour, linewidth=1.4, label=split)
            axis.set_xlabel(name)
            axis.set_yticks([])
            axis.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
        axes[0, 0].set_ylabel("share of puzzles")
        axes[0, -1].legend(loc="upper right")
        means = ", ".join(f"{name} {every[name].mean:.1f}" for name in names)
        return as_figure(
            canvas,
            f"traits-{task}",
            f"{study.tasks[task]}, on average: {means}",
            f"Histograms of {', '.join(name for name in names)}.",
        )


def accuracy(study: Study, experiment: str) -> Display:
    """Exact accuracy of every run of an experiment's variants, all tasks."""
    variants = {task: study.members(task, experiment) for task in study.tasks}
    tasks = [
        task
        for task, names in variants.items()
        if any(len(study.accuracy(task, name)) for name in names)
    ]
    if not tasks:
        return missing("No variant of this experiment has been run in this study.")
    with style():
        canvas, axes = plt.subplots(1, len(tasks), squeeze=False)
        most = max(len(variants[task]) for task in tasks)
        canvas.set_size_inches(WIDTH, 1.5 + 0.27 * max(most, 2))
        for axis, task in zip(axes[0], tasks, strict=True):
            for place, name in enumerate(variants[task]):
                runs = study.accuracy(task, name)
                spec = study.variants.get(name)  # none of a model that others trained
                colour = "#D55E00" if spec and spec.n_L == spec.n_H else "#0072B2"
                if not len(runs):
                    axis.text(0, place, " not run", va="center", fontsize=8, color="#666666")
                    continue
                axis.plot(runs, [place] * len(runs), "o", color=colour, alpha=0.45, markersize=5)
                axis.plot(runs.mean(), place, "|", color=colour, markersize=14, mew=2.2)
                known = study.accuracy(task, name, "train_exact_accuracy")
                axis.plot(known.mean() if len(known) else [], place if len(known) else [], "D",
                          color=colour, markerfacecolor="none", markersize=6)  # fmt: skip
            axis.set_yticks(range(len(variants[task])), variants[task])
            axis.set_ylim(len(variants[task]) - 0.5, -0.5)
            axis.set_xlim(0, max(1.03 * axis.get_xlim()[1], 0.02))
            axis.xaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            axis.set_xlabel("puzzles solved")
            if len(tasks) > 1:
                axis.set_title(study.tasks[task])
        found = "; ".join(
            f"{study.tasks[task]}: {_compared(study, task, experiment)}" for task in tasks
        )
        return as_figure(
            canvas,
            f"accuracy-{experiment}",
            found,
            "Dot plot: exact accuracy of every training run, one row per variant.",
        )


def _compared(study: Study, task: str, experiment: str) -> str:
    """The means of an experiment's groups, in words."""
    parts = [
        f"{title} {mean:.1%}"
        for title, names in study.groups(task, experiment).items()
        if (mean := study.mean_accuracy(task, names)) is not None
    ]
    return ", ".join(parts) + " solved"


def depth(study: Study, task: str) -> list[Display]:
    """Exact accuracy after each segment, one figure per experiment."""
    runs = study.runs(task)
    shown = []
    for experiment in EXPERIMENTS:
        rows = runs[runs["variant"].isin(study.members(task, experiment))]
        if not len(rows):
            continue
        with style():
            canvas, axis = plt.subplots(figsize=(WIDTH, 2.9))
            by_variant = rows.groupby("variant", sort=False)["exact_accuracy_by_segment"]
            for colour, (name, of_variant) in _coloured(by_variant.agg(list).items()):
                values = np.array(of_variant)
                places = np.arange(1, values.shape[1] + 1)
                _lines(axis, places, values, color=colour, label=str(name))
            axis.set_ylim(0, max(axis.get_ylim()[1], 0.02))
            axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_xlabel("segments run")
            axis.set_ylabel("test puzzles solved")
            axis.legend(ncols=4, loc="best")
            name = rows["variant"].iloc[0]
            shares = np.array(
                rows.loc[rows["variant"] == name, "exact_accuracy_by_segment"].tolist()
            ).mean(axis=0)
            shown.append(
                as_figure(
                    canvas,
                    f"depth-{task}-{experiment}",
                    f"{study.tasks[task]}, {EXPERIMENTS[experiment]}: {name} solves "
                    f"{shares[0]:.1%} after one segment and {shares[-1]:.1%} after {len(shares)}",
                    "Line plot: exact accuracy against the number of segments.",
                )
            )
    return shown or [missing(f"No evaluated runs for {study.tasks[task]} yet.")]


def training(study: Study, task: str) -> list[Display]:
    """Loss and exact accuracy while training, one figure per experiment."""
    curves = study.curves(task)
    shown = []
    for experiment in EXPERIMENTS:
        by_variant = _by_variant(
            {
                run: curve
                for run, curve in curves.items()
                if run[0] in study.members(task, experiment)
            }
        )
        if not by_variant:
            continue
        ends = {}
        with style():
            canvas, axes = plt.subplots(1, 2, figsize=(WIDTH, 2.9))
            for colour, (variant, runs) in _coloured(by_variant.items()):
                steps = runs[0]["step"].to_numpy()
                for axis, column in zip(axes, ("lm_loss", "exact_accuracy"), strict=True):
                    values = np.array([run[column].to_numpy(dtype=float) for run in runs])
                    _lines(axis, steps, values, color=colour, label=variant)
                last = [run["exact_accuracy"].dropna().tail(1) for run in runs]
                ends[variant] = pd.concat(last).mean()
            axes[0].set_ylabel("loss per cell (nats)")
            axes[0].set_ylim(bottom=0)
            axes[1].set_ylabel("training puzzles solved")
            axes[1].yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            axes[1].set_ylim(0, max(axes[1].get_ylim()[1], 0.02))
            axes[0].legend()
            for axis in axes:
                axis.set_xlabel("optimiser steps")
            variant, end = next(iter(ends.items()))
            solves = "halted on none of its" if pd.isna(end) else f"solves {end:.1%} of its"
            shown.append(
                as_figure(
                    canvas,
                    f"training-{task}-{experiment}",
                    f"{study.tasks[task]}, {EXPERIMENTS[experiment]}: after {steps[-1]:,} steps "
                    f"{variant} {solves} training puzzles",
                    "Two line plots: loss and accuracy on training puzzles against steps.",
                )
            )
    return shown or [missing(f"No training runs for {study.tasks[task]} yet.")]


def rollout_curves(study: Study, task: str) -> Display:
    """Cell accuracy and undecided share of both states after every sub-step."""
    probed = _by_variant(study.rollouts(task))
    if not probed:
        return missing(f"No rollouts of {study.tasks[task]} models yet.")
    with style():
        canvas, axes = _panels(len(probed), rows=2, height=4.0, sharex=True)
        for column, (variant, runs) in zip(axes.T, probed.items(), strict=True):
            for axis, entry in zip(column, ("cell_accuracy", "undecided"), strict=True):
                for state, colour in STATE_COLOURS.items():
                    curves: list[Curve] = [getattr(run.state(state), entry) for run in runs]
                    means = np.array([curve.mean for curve in curves], dtype=float)
                    places = np.arange(1, means.shape[1] + 1)
                    if len(runs) == 1:
                        error = np.array(curves[0].se, dtype=float)
                        error = np.nan_to_num(error)
                        low, high = means[0] - error, means[0] + error
                        axis.fill_between(places, low, high, color=colour, alpha=0.2)
                    _lines(axis, places, means, color=colour, label=state)
                axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
            column[0].set_title(variant)
            column[1].set_xlabel("sub-step")
        _level(axes)
        axes[0, 0].set_ylabel("cells right")
        axes[1, 0].set_ylabel("cells undecided")
        axes[0, 0].legend(loc="lower right")
        variant, runs = next(iter(probed.items()))
        open_L, open_H = (
            np.mean([run.state(state).undecided_overall for run in runs])
            for state in ("z_L", "z_H")
        )
        return as_figure(
            canvas,
            f"rollout-{task}",
            f"{study.tasks[task]}: {variant} leaves {open_L:.2%} of z_L's cells undecided and "
            f"{open_H:.2%} of z_H's",
            "Line plots: cell accuracy and undecided share of z_L and z_H by sub-step.",
        )


def rollout_inside(study: Study, task: str) -> Display:
    """What lies under the boards: margins, agreement, distances between segments, depth."""
    probed = _by_variant(study.rollouts(task))
    if not probed:
        return missing(f"No rollout measurements for {study.tasks[task]} yet.")

    def mean(of: Iterable[Curve]) -> np.ndarray:
        return np.array([curve.mean for curve in of], dtype=float).mean(axis=0)

    with style():
        canvas, axes = plt.subplots(2, 2, figsize=(WIDTH, 5.2))
        for colour, (variant, runs) in _coloured(probed.items()):
            for state, line in (("z_L", ":"), ("z_H", "-")):
                for axis, name, first in (
                    (axes[0, 0], "margin", 1),
                    (axes[1, 0], "distance", 2),
                    (axes[1, 1], "exact_by_segment", 1),
                ):
                    values = mean(getattr(run.state(state), name) for run in runs)
                    shown = variant if state == "z_H" else None
                    places = np.arange(len(values)) + first
                    axis.plot(places, values, line, color=colour, label=shown)
            values = mean(run.agreement for run in runs)
            axes[0, 1].plot(np.arange(len(values)) + 1, values, color=colour)
        for axis, title, y, x in (
            (axes[0, 0], "How sure each state is", "margin of the best token", "sub-step"),
            (axes[0, 1], "Cells on which both agree", "share of cells", "sub-step"),
            (axes[1, 0], "Change since last segment", "relative change", "segment"),
            (axes[1, 1], "Puzzles solved by depth", "share of puzzles", "segment"),
        ):
            axis.set_title(title)
            axis.set_ylabel(y)
            axis.set_xlabel(x)
            axis.xaxis.set_major_locator(MaxNLocator(integer=True))
            axis.set_ylim(0, max(axis.get_ylim()[1], 0.02))
        for axis in (axes[0, 1], axes[1, 1]):
            axis.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        states = [
            Line2D([], [], color="black", linestyle="-", label="z_H"),
            Line2D([], [], color="black", linestyle=":", label="z_L"),
        ]
        handles, _ = axes[0, 0].get_legend_handles_labels()
        axes[0, 0].legend(handles=[*handles, *states], ncols=2)
        leads = ", ".join(
            f"{variant} {_mean([run.margin_lead for run in runs])}"
            for variant, runs in list(probed.items())[:4]
        )
        return as_figure(
            canvas,
            f"inside-{task}",
            f"{study.tasks[task]}: z_H's margin minus z_L's: {leads}",
            "Four line plots of rollouts: margin, agreement, change, accuracy.",
        )


def freeze(study: Study, task: str) -> Display:
    """Content changes and mask flips of each state: normal against the other state frozen."""
    probed = _by_variant(study.freezes(task))
    if not probed:
        return missing(f"No freeze experiments for {study.tasks[task]} yet.")
    with style():
        canvas, axes = _panels(len(probed), rows=1, height=2.6)
        for axis, (variant, runs) in zip(axes[0], probed.items(), strict=True):
            _change_bars(axis, runs)
            axis.set_title(variant)
        _level(axes)
        axes[0, 0].set_ylabel("cells changed per puzzle")
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
        variant, runs = next(iter(probed.items()))
        parts = []
        for frozen, state in MOVING.items():
            normal, other = (
                np.mean([run.changes(condition, state).mean for run in runs])
                for condition in ("normal", frozen)
            )
            parts.append(
                f"with {CONDITIONS[frozen]}, {state}'s content changes go from {normal:.1f} to "
                f"{other:.1f}"
            )
        return as_figure(
            canvas,
            f"freeze-{task}",
            f"{study.tasks[task]}, {variant}: {'; '.join(parts)}",
            "Bar chart: changes of each state, normal and with the other frozen.",
        )


def _change_bars(axis: Axes, runs: list[FreezeMeasures]) -> None:
    """Of each state, both kinds of change: bars are means over runs, dots the runs."""
    kinds = {"content_changes": "", "mask_flips": "//"}
    for place, (frozen, state) in enumerate(MOVING.items()):
        for bar, (condition, kind) in enumerate(
            (condition, kind) for kind in kinds for condition in ("normal", frozen)
        ):
            values = [run.changes(condition, state, kind).mean for run in runs]
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
    axis.grid(axis="x", visible=False)


def freeze_transitions(study: Study, task: str) -> Display:
    """Content changes per transition, for both states and all conditions."""
    probed = _by_variant(study.freezes(task))
    if not probed:
        return missing(f"No freeze experiments for {study.tasks[task]} yet.")
    with style():
        canvas, axes = _panels(len(probed), rows=2, height=3.8, sharex=True)
        early = []
        for column, (variant, runs) in zip(axes.T, probed.items(), strict=True):
            for axis, (frozen, state) in zip(column, MOVING.items(), strict=True):
                for condition in ("normal", frozen):
                    values = np.array(
                        [run.changes(condition, state).per_transition for run in runs]
                    )
                    places = np.arange(1, values.shape[1] + 1)
                    colour = CONDITION_COLOURS[condition]
                    _lines(axis, places, values, color=colour)
                    if condition == "normal" and values.sum():
                        half = values.shape[1] // 2
                        early.append((variant, state, values[:, :half].sum() / values.sum()))
            column[0].set_title(variant)
            column[1].set_xlabel("transition")
        _level(axes)
        canvas.legend(
            handles=[
                Line2D([], [], color=CONDITION_COLOURS[name], label=label)
                for name, label in CONDITIONS.items()
            ],
            loc="outside lower center",
            ncols=3,
        )
        axes[0, 0].set_ylabel("changes of z_L")
        axes[1, 0].set_ylabel("changes of z_H")
        shares = [
            f"{share:.0%} of {state}'s" for name, state, share in early if name == early[0][0]
        ]
        finding = (
            f"{early[0][0]}, nothing frozen: {' and '.join(shares)} content changes fall into the "
            "first half of a rollout"
            if early
            else "no content changes unless a state is frozen"
        )
        return as_figure(
            canvas,
            f"transitions-{task}",
            f"{study.tasks[task]}, {finding}",
            "Line plots: content changes of each state along a rollout.",
        )


def attention(study: Study, task: str) -> Display:
    """The contrasts of attention per layer, for control and violation-adjacent cells."""
    probed = _by_variant(study.attentions(task))
    if not probed:
        return missing(f"No attention measurements for {study.tasks[task]} yet.")
    first = next(iter(probed.values()))[0]
    contrasts = list(first.control.contrasts)
    nearest = measure(task, contrasts[0])
    with style():
        canvas, axes = plt.subplots(
            len(probed),
            len(contrasts),
            squeeze=False,
            sharex=True,
            sharey="col",
            figsize=(WIDTH, 1.2 + 1.6 * len(probed)),
        )
        for row, (variant, runs) in zip(axes, probed.items(), strict=True):
            for axis, contrast in zip(row, contrasts, strict=True):
                _contrast_bars(axis, runs, contrast)
            row[0].set_ylabel(f"{variant}\n{nearest.unit}", fontsize=8)
        for axis, contrast in zip(axes[0], contrasts, strict=True):
            axis.set_title("\n".join(measure(task, contrast)), fontsize=8, fontweight="normal")
        for row in axes:
            row[0].yaxis.set_major_locator(MaxNLocator(4))
        deepest = max(len(runs[0].control.contrasts[contrasts[0]].mean) for runs in probed.values())
        for axis in axes[-1]:
            axis.set_xticks(range(deepest), range(1, deepest + 1))
            axis.set_xlabel("layer")
        canvas.legend(
            handles=[
                Rectangle((0, 0), 1, 1, facecolor=CELL_COLOURS["control"], label="control cells"),
                Rectangle(
                    (0, 0),
                    1,
                    1,
                    facecolor=CELL_COLOURS["adjacent"],
                    label="violation-adjacent cells",
                ),
            ],
            loc="outside lower center",
            ncols=2,
        )
        shares = ", ".join(
            f"{variant} {_over_layers(runs, contrasts[0])}"
            for variant, runs in list(probed.items())[:4]
        )
        return as_figure(
            canvas,
            f"attention-{task}",
            f"{study.tasks[task]}: attention {nearest}, L-update minus H-update, mean over "
            f"layers: {shares}",
            "Bar chart: attention contrasts between L- and H-updates per layer.",
        )


def attention_parts(study: Study, task: str) -> list[Display]:
    """The contrast on each part of the neighbourhood, mean over layers; nothing if it has none."""
    measured = study.attentions(task)
    probed = _by_variant({run: found for run, found in measured.items() if found.control.parts})
    if not probed:
        return []
    names = list(next(iter(probed.values()))[0].control.parts)
    titles = {name: measure(task, name) for name in names}
    with style():
        canvas, axes = plt.subplots(
            1, len(names), squeeze=False, sharey=True, sharex=True,
            figsize=(WIDTH, 1.3 + 0.4 * len(probed)),
        )  # fmt: skip
        for axis, name in zip(axes[0], names, strict=True):
            for row, runs in enumerate(probed.values()):
                _contrast_points(axis, row, [(run.control, run.adjacent) for run in runs], name)
            axis.axvline(0, color="#333333", linewidth=0.8)
            axis.set_title(titles[name].title, fontsize=8, fontweight="normal")
            axis.set_xlabel(titles[name].unit)
            axis.xaxis.set_major_locator(MaxNLocator(4))
        axes[0, 0].set_yticks(range(len(probed)), list(probed))
        axes[0, 0].set_ylim(len(probed) - 0.5, -0.5)
        canvas.legend(
            handles=[
                Line2D([], [], color=colour, marker="o", linestyle="", label=label)
                for colour, label in zip(
                    CELL_COLOURS.values(),
                    ("control cells", "violation-adjacent cells"),
                    strict=True,
                )
            ],
            loc="outside lower center",
            ncols=2,
        )
        variant, runs = next(iter(probed.items()))
        contrasts = ", ".join(
            f"{_mean([run.control.parts[name].all_layers.mean for run in runs])} "
            f"{titles[name].title}"
            for name in names
        )
        return [
            as_figure(
                canvas,
                f"parts-{task}",
                f"{study.tasks[task]}, {variant}: attention, L-update minus H-update, mean over "
                f"layers: {contrasts}",
                "Dot plot: attention contrasts on each part of the neighbourhood, by variant.",
            )
        ]


def _contrast_points(axis: Axes, row: int, runs: list[tuple[Cells, Cells]], part: str) -> None:
    """Of both classes of cells, the mean over runs, and the runs; of one run, its interval."""
    for place, (of_class, colour) in enumerate(
        zip(zip(*runs, strict=True), CELL_COLOURS.values(), strict=True)
    ):
        found = [cells.parts[part].all_layers for cells in of_class]
        means = np.array([one.mean for one in found], dtype=float)
        if np.isnan(means).all():  # no cell of this class
            continue
        y = row + (place - 0.5) * 0.36
        axis.plot(np.nanmean(means), y, "o", color=colour, markersize=6)
        if len(found) == 1:
            axis.plot(np.array(found[0].interval, dtype=float), [y, y], color="#333333", lw=1)
        else:
            axis.plot(means, [y] * len(means), "k.", markersize=3)


def _contrast_bars(axis: Axes, runs: list[AttentionMeasures], contrast: str) -> None:
    """Of both classes of cells, per layer: bars are means over runs, dots the runs.

    Of a single run, whiskers are its intervals over puzzles.
    """
    layers = len(runs[0].control.contrasts[contrast].mean)
    for place, (name, colour) in enumerate(CELL_COLOURS.items()):
        found = [run.cells(name).contrasts[contrast] for run in runs]
        means = np.array([one.mean for one in found], dtype=float)
        x = np.arange(layers) + (place - 0.5) * 0.4
        mean = means.mean(axis=0)
        axis.bar(x, mean, width=0.38, color=colour)
        if len(runs) == 1:
            ends = np.array(found[0].interval, dtype=float).T
            whiskers = np.nan_to_num(np.abs(ends - mean))
            axis.errorbar(
                x, mean, yerr=whiskers, fmt="none", ecolor="#333333", elinewidth=1, capsize=2
            )
        else:
            axis.plot(np.tile(x, len(runs)), means.ravel(), "k.", markersize=3)
    axis.axhline(0, color="#333333", linewidth=0.8)
    axis.grid(axis="x", visible=False)


def emergence(study: Study, task: str) -> Display:
    """What the probes measure at every snapshot of a training, one line per variant."""
    probed = _by_variant(study.emergences(task))
    if not probed:
        return missing(f"No snapshot measurements for {study.tasks[task]} yet.")
    band = SplitFirst.band.get(task)
    near = next((run.nearest for runs in probed.values() for run in runs if run.nearest), None)
    attention = measure(task, near) if near else Measure("nearby", "no attention")
    cells = "minus normal, cells"
    # title, unit, and what of a snapshot: a mean and its interval
    panels: list[tuple[str, str, Callable[[Snapshot], tuple[Maybe, Sequence[Maybe]]]]] = [
        ("Puzzles solved", "", lambda at: _estimate(at.exact_accuracy)),
        (
            f"Attention {attention.title}",
            f"L minus H, {attention.unit}",
            lambda at: _estimate(at.split),
        ),
        ("How sure z_L is", "margin", lambda at: _estimate(at.z_L.margin)),
        ("How sure z_H is", "margin", lambda at: _estimate(at.z_H.margin)),
        ("Changes of z_L, z_H frozen", cells, lambda at: _effect(at.effects.freeze_H)),
        ("Changes of z_H, z_L frozen", cells, lambda at: _effect(at.effects.freeze_L)),
    ]
    with style():
        canvas, axes = plt.subplots(3, 2, figsize=(WIDTH, 6.4), sharex=True)
        for axis, (title, unit, measured) in zip(axes.flat, panels, strict=True):
            for colour, (variant, runs) in _coloured(probed.items()):
                found = [[measured(at) for at in run.snapshots] for run in runs]
                steps = np.array(runs[0].steps)
                means = np.array([[mean for mean, _ in run] for run in found], dtype=float)
                if len(runs) == 1:
                    low, high = np.array([ends for _, ends in found[0]], dtype=float).T
                    axis.fill_between(steps, low, high, color=colour, alpha=0.15, linewidth=0)
                _lines(axis, steps, means, color=colour, label=variant, marker=".")
            axis.set_title(title)
            axis.set_ylabel(unit, fontsize=8)
        _steps(axes, sorted({step for runs in probed.values() for step in runs[0].steps}))
        solved, split = axes[0]
        solved.yaxis.set_major_formatter(PercentFormatter(1, decimals=None))
        solved.axhline(SplitFirst.some, color="#333333", linewidth=0.8, linestyle="--")
        if band is not None:
            split.axhspan(-band, band, color="#dddddd", zorder=0)
        most = max(axis.get_ylim()[1] for axis in axes[1])
        for axis in axes[1]:
            axis.set_ylim(0, most)
        for axis in (split, *axes[2]):
            axis.axhline(0, color="#333333", linewidth=0.8)
        handles, names = solved.get_legend_handles_labels()
        canvas.legend(handles, names, loc="outside lower center", ncols=8)
        return as_figure(
            canvas,
            f"emergence-{task}",
            f"{study.tasks[task]}: {_emerged(probed, band)}",
            "Six line plots against optimiser steps: accuracy, attention, margins, freeze effects.",
        )


def _estimate(found: Overall) -> tuple[Maybe, Sequence[Maybe]]:
    return found.mean, found.interval


def _effect(found: Effect) -> tuple[Maybe, Sequence[Maybe]]:
    return found.content_changes, found.interval


def _steps(axes: np.ndarray, steps: list[int]) -> None:
    """A logarithmic axis of optimiser steps, ticks at snapshots; step 0 has a place before it."""
    every = math.ceil(len(steps) / 8)
    ticks = sorted({steps[0], *steps[::-every]})
    start = next((step for step in steps if step), 1)
    for axis in axes[-1]:
        axis.set_xscale("symlog", linthresh=start, linscale=0.6)
        axis.set_xticks(ticks, [f"{step:,}" for step in ticks])
        axis.set_xticks([], minor=True)
        axis.set_xlabel("optimiser steps")


def _emerged(probed: dict[str, list[EmergenceMeasures]], band: float | None) -> str:
    """What came when, as claim X3 dates it."""
    some = {name: [reached(run, SplitFirst.some) for run in runs] for name, runs in probed.items()}
    solved = f"{SplitFirst.some:.0%} of puzzles are solved {_by(some)}"
    if band is None:
        return solved
    split = {
        name: [split_of(run, band) for run in runs if run.nearest] for name, runs in probed.items()
    }
    if not any(split.values()):
        return solved
    return f"attention splits for good {_by(split)}; {solved}"


def _by(dated: dict[str, list[When]]) -> str:
    """The steps by which something had come in the runs of each variant."""
    variants: dict[str, list[str]] = {}
    for name, of_runs in dated.items():
        if not of_runs:
            continue
        steps = sorted({when.certain for when in of_runs if when.certain is not None})
        if steps:
            by = " to ".join(f"{step:,}" for step in dict.fromkeys((steps[0], steps[-1])))
            count, of = sum(when.certain is not None for when in of_runs), len(of_runs)
            said = f"by step {by}" + (f" ({count} of {of} runs)" if count < of else "")
        else:
            said = "never" if all(when.possible is None for when in of_runs) else "possibly"
        variants.setdefault(said, []).append(name)
    if list(variants) == ["never"]:
        return "in no variant"
    return ", ".join(
        f"{said} in {' and '.join(names) if len(variants) > 1 else 'all variants'}"
        for said, names in variants.items()
    )


def _over_layers(runs: list[AttentionMeasures], contrast: str) -> str:
    return _mean([run.control.contrasts[contrast].all_layers.mean for run in runs])


def _mean(means: list[float | None]) -> str:
    known = [mean for mean in means if mean is not None]
    return f"{np.mean(known):+.3f}" if known else "unknown"


def _panels(
    count: int, rows: int, height: float, sharex: bool = False, across: int = 4
) -> tuple[Canvas, np.ndarray]:
    """``count`` columns of ``rows`` panels, wrapped after ``across``: axes ``[rows, count]``."""
    blocks = math.ceil(count / across)
    canvas, grid = plt.subplots(
        rows * blocks,
        min(count, across),
        squeeze=False,
        sharex=sharex,
        figsize=(WIDTH, height * blocks + 0.5),
    )
    for axis in grid[(blocks - 1) * rows :, count - (blocks - 1) * across :].flat:
        axis.set_visible(False)
    places = [divmod(place, across) for place in range(count)]
    columns = [grid[block * rows : (block + 1) * rows, column] for block, column in places]
    return canvas, np.array(columns).T


def _level(axes: np.ndarray) -> None:
    """The same limits in every panel of a row, from zero; numbers beside the first of a line."""
    for row in axes:
        top = max(*(axis.get_ylim()[1] for axis in row), 0.02)
        for place, axis in enumerate(row):
            axis.set_ylim(0, top)
            axis.tick_params(labelleft=place % 4 == 0)


def _lines(
    axis: Axes, x: np.ndarray, runs: np.ndarray, color: str, label: str = "", marker: str = ""
) -> None:
    """Their mean over runs ``[runs, len(x)]`` and, if there are several, each run thinly.

    A cell that is empty in training.csv is NaN: the mean is over the runs that have a value.
    """
    if len(runs) > 1:
        axis.plot(x, runs.T, color=color, alpha=ASIDE, linewidth=0.8)
    known = np.isfinite(runs)
    mean = np.where(known, runs, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), 1)
    mean = np.where(known.any(axis=0), mean, np.nan)
    axis.plot(x, mean, color=color, label=label, marker=marker)


def _by_variant(runs: Mapping[Run, T]) -> dict[str, list[T]]:
    grouped: dict[str, list[T]] = {}
    for (variant, _), found in runs.items():
        grouped.setdefault(variant, []).append(found)
    return grouped


def _coloured(groups: Iterable[tuple[K, T]]) -> Iterator[tuple[str, tuple[K, T]]]:
    colours = plt.rcParams["axes.prop_cycle"].by_key()["color"]
    for number, group in enumerate(groups):
        yield colours[number % len(colours)], group
