"""Figures show all of what they draw, for one run as for several."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from xml.etree import ElementTree

import numpy as np
import pytest
from fontTools.pens.recordingPen import RecordingPen
from fontTools.svgLib.path import parse_path
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.figure import Figure

from air import probes
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.probes.emergence import emergence
from air.reporting import display, figures, strips, tables
from air.reporting.boards import shown_places
from air.reporting.captions import CAPTIONS
from air.reporting.claims.picture import Picture, Point, Row
from air.reporting.display import Display
from air.reporting.inputs import Checked
from air.results.attention import AttentionMeasures
from air.tasks.task import Puzzles
from tests.made_up import study


@pytest.fixture(scope="module")
def measured(small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]) -> dict[str, Any]:
    """Every probe on models of different liveliness, so that curves differ in height."""
    puzzles = sudokus[1].first(6)
    found: dict[str, Any] = {"rollout": {}, "freeze": {}, "attention": {}, "emergence": {}}
    untrained = AIR(small_model, Variant.parse("Lx_H"), 6, 16, seed=3)
    for seed, liveliness in enumerate((1, 2, 4)):
        model = AIR(small_model, Variant.parse("Lx_H"), 6, 16, seed=seed)
        for parameter in model.stacks.parameters():
            parameter.data.mul_(liveliness)
        run = ("Lx_H", seed)
        found["rollout"][run] = probes.rollout(model, puzzles).measures
        found["freeze"][run] = probes.freeze(model, puzzles)
        found["attention"][run] = probes.attention(model, puzzles, [0, 2]).measures
        found["emergence"][run] = emergence([(0, untrained), (7, model)], puzzles, [0]).measures
    return found


FIGURES = (
    figures.rollout_curves,
    figures.rollout_inside,
    figures.freeze,
    figures.freeze_transitions,
    figures.attention,
    figures.emergence,
)


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
@pytest.mark.parametrize("runs", [1, 3])
def test_nothing_is_cut_off(
    draw: Any, runs: int, measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Figure] = []

    def keep(canvas: Figure, name: str, finding: str, alt: str) -> Display:
        drawn.append(canvas)
        assert name.split("-")[0] in CAPTIONS
        assert finding
        assert alt
        return Display("")

    monkeypatch.setattr(figures, "as_figure", keep)
    chosen = {name: dict(list(found.items())[:runs]) for name, found in measured.items()}
    draw(study(probes=chosen), "sudoku")
    points = 0
    for axis in drawn[0].axes:
        low, high = axis.get_ylim()
        for line in axis.lines:
            if line.get_transform().contains_branch(axis.transData):
                values = np.asarray(line.get_ydata(), dtype=float)
                values = values[np.isfinite(values)]
                assert (values >= low - 1e-9).all()
                assert (values <= high + 1e-9).all()
                points += len(values)
    assert points


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_without_results_there_is_a_sentence(draw: Any) -> None:
    assert 'class="missing"' in draw(study(), "maze").html


def outline(svg: str) -> list[tuple[str, float]]:
    """Every path of an SVG, wherever one ends: names of commands and absolute numbers."""
    found: list[tuple[str, float]] = []
    for path in re.findall(r' d="([^"]*)"', svg):
        pen = RecordingPen()
        parse_path(path, pen)
        for command, points in pen.value:
            if command != "endPath":  # where nothing is closed
                found += [(command, number) for point in points or ((0.0,),) for number in point]
    return found


def lettering(svg: str) -> list[tuple[str, float, float, str]]:
    """What an SVG writes, in alphabetical order: letters, the place of the first, and their look.

    A text with a place for each letter is as many texts.
    """
    rules = dict(re.findall(r"\.(c\d+){(.*?)}", svg))
    found = []
    for attributes, letters in re.findall("<text([^>]*)>([^<]*)", svg):
        said = dict(re.findall(r'(\w+)="([^"]*)"', attributes))
        look = said["style"] if "style" in said else rules[said["class"]]
        look = re.sub("(?<=[:;,]) ", "", look)
        places = [float(x) for x in said.get("x", "0").split()]
        parts = [letters] if len(places) == 1 else letters
        y = float(said.get("y", 0))
        found += [(part, x, y, look) for part, x in zip(parts, places, strict=True)]
    return sorted(found)


def test_letters_of_one_look_and_line_are_one_text_and_stay_where_they_are(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with display.style():
        canvas = Figure(figsize=(2, 2))
        for place in range(9):
            row, column = divmod(place, 3)
            weight = "bold" if place % 2 else "normal"
            canvas.text(0.21 * column + 0.1, 0.33 * row, str(place + 1), weight=weight, ha="center")
        canvas.text(0.5, 0.9, "two words")
        small = display._svg(canvas)
        monkeypatch.setattr(display, "_compact", lambda svg: svg)
        large = display._svg(canvas)
    before, after = lettering(large), lettering(small)
    assert [(letters, look) for letters, _, _, look in after] == [
        (letters, look) for letters, _, _, look in before
    ]
    for (_, x, y, _), (_, was_x, was_y, _) in zip(after, before, strict=True):
        assert (x, y) == pytest.approx((was_x, was_y), abs=0.0501)
    assert small.count("<text") == 7  # two a row, and the words


@pytest.mark.parametrize("draw", FIGURES, ids=lambda draw: draw.__name__)
def test_a_compact_svg_draws_the_same(
    draw: Any, measured: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    small = draw(study(probes=measured), "sudoku").files["svg"]
    monkeypatch.setattr(display, "_compact", lambda svg: svg)
    large = draw(study(probes=measured), "sudoku").files["svg"]
    assert len(small) < 0.6 * len(large)
    before, after = outline(large), outline(small)
    assert [name for name, _ in after] == [name for name, _ in before]
    moved = [abs(x - y) for (_, x), (_, y) in zip(before, after, strict=True)]
    assert max(moved) <= 0.0501  # half of a tenth of a point
    words, kept = lettering(large), lettering(small)
    assert [letters for letters, *_ in kept] == [letters for letters, *_ in words]
    assert kept
    for (_, x, y, _), (_, was_x, was_y, _) in zip(kept, words, strict=True):
        assert (x, y) == pytest.approx((was_x, was_y), abs=0.0501)
    elements = [ElementTree.fromstring(svg).iter() for svg in (large, small)]
    looks = [{one.get("style") for one in every} for every in elements]
    rules = set(re.findall(r"\.c\d+{(.*?)}", small)) | looks[1] - {None}
    assert {look.replace(": ", ":").replace("; ", ";").replace(", ", ",")
            for look in looks[0] if look} == rules  # fmt: skip
    address = display.data_uri(small)
    assert not set('<>&"#') & set(address)  # so that HTML escapes nothing and the address is whole
    page = unquote(address).removeprefix("data:image/svg+xml,")
    assert ElementTree.canonicalize(page) == ElementTree.canonicalize(small)


def test_what_a_claim_draws_is_drawn_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Figure] = []
    keep = display.as_image

    def kept(canvas: Figure, alt: str, kind: str) -> Any:
        drawn.append(canvas)
        return keep(canvas, alt, kind)

    monkeypatch.setattr(strips, "as_image", kept)
    rows = [
        Row("a", [Point(0.1, [0.05, 0.2]), Point(-0.2, [-0.3, None], decides=False)], 0.15),
        Row("b", [Point(None), Point(0.3)], published=-9),
    ]
    html = strips.strip(Picture("share, %", rows, none=(-0.01, 0.01), times=100), "C9, Sudoku")
    assert 'class="strip"' in html
    said = re.findall('alt="(.*?)"', html)
    assert said == [
        "C9, Sudoku, share, %: a 10 (5 to 20), -20 (-30), published 15; b unknown, 30, published "
        "-900; counts as none or little: -1 to 1."
    ]
    axis = drawn[0].axes[0]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["a", "b"]
    marks: dict[tuple[Any, Any], list[float]] = {}
    for line in axis.lines:
        kind = (line.get_marker(), line.get_markerfacecolor())
        marks.setdefault(kind, []).extend(np.asarray(line.get_xdata(), dtype=float))
    assert marks["o", strips.COLOUR] == pytest.approx([10, 30])
    assert marks["o", "white"] == pytest.approx([-20])  # has not learned
    assert marks["D", strips.PUBLISHED] == pytest.approx([15])
    # further out than all that was measured is wide: an arrow, at the edge
    assert marks["<", strips.PUBLISHED] == pytest.approx([-30 - 2 * 60])
    ends = [np.asarray(one.get_xdata()) for one in axis.lines if one.get_marker() == "None"]
    assert [one.tolist() for one in ends if one.any()] == [pytest.approx([5, 20])]
    band = axis.patches[0].get_extents().transformed(axis.transData.inverted())
    assert (band.x0, band.x1) == pytest.approx((-1, 1))


@pytest.fixture
def canvases(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """What strips are drawn on; a strip is its text, then."""
    drawn: list[Figure] = []

    def kept(canvas: Figure, alt: str, kind: str) -> str:
        drawn.append(canvas)
        return alt

    monkeypatch.setattr(strips, "as_image", kept)
    return drawn


@pytest.mark.parametrize(
    ("steps", "ticks"),
    [
        ([45, 563, 2750], ["10", "100", "1,000"]),
        ([0, 1, 45], ["0", "1", "10"]),
        ([0, 12500], ["0", "1", "100", "10,000"]),
        ([1000], ["1,000", "10,000"]),
        ([0], ["0", "1", "10"]),
    ],
)
def test_steps_are_drawn_by_their_logarithm(
    steps: list[int], ticks: list[str], canvases: list[Figure]
) -> None:
    rows = [Row("a", [Point(step, (step, step)) for step in steps])]
    said = strips.strip(Picture("steps", rows, logarithmic=True), "X3")
    assert said.startswith(f"X3, steps: a {steps[0]:,} (")
    [axis] = canvases[0].axes
    assert [label.get_text() for label in axis.get_xticklabels()] == ticks
    low, high = axis.get_xlim()
    assert low < min(steps)
    assert max(steps) < high
    shown = axis.transData.transform([(step, 0) for step in (0, 1, 10, 100, 1000)])[:, 0]
    before, *decades = np.diff(shown)
    assert before > 0  # 0 has a place of its own
    assert decades == pytest.approx([decades[0]] * 3)


def test_what_is_only_possible_from_a_step_on_is_drawn_to_the_edge(
    canvases: list[Figure],
) -> None:
    rows = [Row("a", [Point(100, (100, 100)), Point(None, (20, math.inf)), Point(None)])]
    said = strips.strip(Picture("steps", rows, logarithmic=True), "X3")
    assert said == "X3, steps: a 100 (100 to 100), perhaps from 20 on, unknown."
    [axis] = canvases[0].axes
    dotted, head = [line for line in axis.lines if line.get_linestyle() == ":"
                    or line.get_marker() == ">"]  # fmt: skip
    edge = axis.get_xlim()[1]
    assert np.asarray(dotted.get_xdata()).tolist() == [20, edge]
    assert np.asarray(head.get_xdata()).tolist() == [edge]


def test_a_neighbourhood_of_ones_own_is_called_by_its_name(measured: dict[str, Any]) -> None:
    run, looked = next(iter(measured["attention"].items()))
    content = looked.content()
    for cells in ("control", "adjacent"):
        content[cells]["d_own"] = content[cells].pop("d_nbr")
        for other in ("d_ent", "d_viol"):  # which come after it
            content[cells][other] = content[cells].pop(other)
    own = AttentionMeasures.model_validate(content)
    html = figures.attention(study(probes={"attention": {run: own}}), "sudoku").html
    assert "attention on own, L-update minus H-update" in html
    html = figures.attention(study(probes={"attention": {run: looked}}), "sudoku").html
    assert "attention on row, column, box, L-update minus H-update" in html


def test_epochs_stand_as_the_steps_that_were_made() -> None:
    content = study({"Lx_H": [0.5]}).checked.model_dump()
    content["params"]["sudoku"]["train"] |= {"steps": None, "epochs": 30}
    for task in ("sudoku", "maze"):  # whose columns are shown: neither is left out
        content["params"][task] |= {"variants": ["Lx_H"], "seeds": [0]}
    for accuracies, shown in (({}, "30 epochs"), ({"Lx_H": [0.5]}, "100")):
        made_up = replace(study(accuracies), checked=Checked.model_validate(content))
        table = tables.setting(made_up).files["csv"]
        row = next(line for line in table.splitlines() if line.startswith("optimiser steps,"))
        assert row.split(",")[1] == shown
        assert row.split(",")[2] == str(made_up.params.task("maze").train.steps)


def test_costs_are_added_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    made_up = study()
    assert 'class="missing"' in tables.cost(made_up).html
    times = {"train/maze/Lx_H/seed0": 60, "train/maze/hrm/seed1": 120, "claims": 2}
    for name, seconds in times.items():
        path = tmp_path / "logs/benchmark" / f"{name}.tsv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t-\t2048\n", encoding="utf-8")
    mark = tmp_path / "logs/train/maze/hrm/seed1.restored"
    mark.parent.mkdir(parents=True)
    mark.touch()
    html = tables.cost(made_up).html
    rows = [re.findall("<td>(.*?)</td>", row) for row in html.split("<tr>")[1:]]
    assert rows[0] == ["train", "Maze", "1", "1", "60.0 s", "60.0 s", "2.00 GiB"]
    assert rows[1] == ["claims", "", "1", "0", "2.0 s", "2.0 s", "2.00 GiB"]
    assert rows[2] == ["all", "", "2", "1", "", "62.0 s", ""]


@given(st.integers(2, 40), st.integers(1, 20), st.integers(5, 9))
def test_boards_are_shown_from_the_first_sub_step_to_the_last(
    updates: int, segments: int, columns: int
) -> None:
    substeps = updates * segments
    places = shown_places(updates, substeps, columns)
    assert list(places) == sorted(places)
    assert len(places) <= columns
    assert min(places) == 0
    assert max(places) == substeps - 1
    assert all(number == place + 1 for place, number in places.items())
