"""Maps of one cell's attention: the part of a board that is shown, and what a map marks."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import PathPatch

from air.reporting import maps
from air.reporting.boards import Pen
from air.reporting.display import STYLE, Display, data_uri, folded
from air.reporting.inputs import Look
from air.reporting.maps import View, spread
from air.results.attention import Maps
from air.tasks.maze import Maze
from air.tasks.sudoku import Sudoku
from air.tasks.task import Task


def view_of(task: Task, query: int) -> View:
    """Maps of one puzzle, two segments, two layers and two heads; attention is by cell number."""
    cells = task.cells
    near = next(iter(task.neighbourhoods.values())).matrix[[query]]
    attention = np.zeros((1, 2, 2, 2, cells), dtype=np.float32) + np.arange(cells)
    found = Maps(
        inputs=np.ones((1, cells), np.uint8),
        labels=np.full((1, cells), 2, np.uint8),
        query=np.array([query]),
        near=near,
        attention=attention / attention.sum(axis=-1, keepdims=True),
        board=np.ones((1, 2, cells), np.uint8),
        violations=np.zeros((1, 2, cells), bool),
        heads=np.zeros((1, 2, 2, 2, 2, cells), np.float16),
    )
    look = Look.model_validate(
        {
            "rows": task.rows, "columns": task.columns, "vocabulary": list(task.vocabulary),
            "undecided_token": task.undecided_token, "look": task.look(),
        }
    )  # fmt: skip
    return View.whole(Pen(look, ""), found, 0)


@pytest.mark.parametrize(
    ("row", "column", "top", "left"),
    [(15, 14, 10, 9), (0, 0, 0, 0), (29, 29, 19, 19), (4, 26, 0, 19), (5, 24, 0, 19)],
)
def test_a_window_lies_around_the_cell_and_on_the_board(
    row: int, column: int, top: int, left: int
) -> None:
    view = view_of(Maze(30), row * 30 + column)
    window = view.window()
    assert window is not None
    part = window.part(np.arange(900))
    assert part.shape == (11, 11)
    assert part[0, 0] == top * 30 + left
    assert part.ravel()[window.query[0]] == row * 30 + column
    assert view.query[0] == row * 30 + column
    # shares are of the whole board's attention, wherever they are shown
    attention = view.maps.attention[0, 0, 0, 0]
    assert window.on_near(attention) == pytest.approx(view.on_near(attention))


@pytest.mark.parametrize(
    "task",
    [Maze(11), Sudoku(3, 3), Sudoku(4, 4)],
    ids=["no larger", "smaller", "with rows that reach further"],
)
def test_other_boards_are_shown_whole(task: Task) -> None:
    assert view_of(task, task.cells // 2).window() is None


def test_cells_are_outlined_together() -> None:
    """An L of three cells has eight edges; cells inside others have none."""
    cells = np.array([[1, 1, 0], [1, 0, 0]], dtype=bool)
    for inside in (0.0, 0.1):
        canvas, axis = plt.subplots()
        maps._outline(axis, cells, "#000000", 1.0, inside)
        [patch] = axis.patches
        assert isinstance(patch, PathPatch)
        ends = np.array(patch.get_path().vertices).reshape(-1, 2, 2)
        assert len(ends) == 8
        # each of five outward corners shortens two edges
        assert np.abs(ends[:, 0] - ends[:, 1]).sum() == pytest.approx(8 - 5 * 2 * inside)
        plt.close(canvas)
    canvas, axis = plt.subplots()
    maps._outline(axis, np.zeros((3, 3), bool), "#000000", 1.0)
    assert not axis.patches
    plt.close(canvas)


@pytest.mark.parametrize("task", [Maze(30), Sudoku(3, 3)], ids=["maze", "sudoku"])
def test_a_grid_has_a_panel_for_all_it_says(task: Task) -> None:
    view = view_of(task, task.cells // 2)
    shown = view.window() or view
    canvas = maps._segments(shown, [2, 15], 1)
    titles = [axis.get_title() or axis.get_title(loc="left") for axis in canvas.axes]
    near = view.on_near(view.maps.attention[0, 0, 0, 1])
    assert sorted(titles) == sorted(["segment 3", "segment 16", *[f"{near:.0%}"] * 4])
    plt.close(canvas)
    heads = np.stack([np.eye(task.cells)[:5] for _ in "LH"])  # each on one cell
    canvas = maps._heads(shown, heads)
    assert len(canvas.axes) == 2 * 6
    plt.close(canvas)
    canvas = maps._layers(view, 0)
    titles = [axis.get_title() or axis.get_title(loc="left") for axis in canvas.axes]
    one_view = ["z_H shows", "L, layer 1", "L, layer 2", "answer", "H, layer 1", "H, layer 2"]
    views = 2 if view.window() else 1
    assert [title.split(":")[0] for title in titles] == one_view * views
    assert len({round(axis.get_position().y0, 9) for axis in canvas.axes}) == views  # a row each
    plt.close(canvas)


def test_the_first_and_the_last_are_always_shown() -> None:
    assert spread(3) == [0, 1, 2]
    assert spread(16) == [0, 2, 4, 6, 9, 11, 13, 15]
    assert spread(1) == [0]


def test_what_is_folded_opens_on_paper(browser: Any) -> None:
    svg = '<svg xmlns="http://www.w3.org/2000/svg" width="90" height="400"></svg>'
    image = f'<img alt="" src="{data_uri(svg)}">'
    shown = folded(Display(image, "map-x", {"svg": svg}), "L<H")
    assert (shown.name, shown.files) == ("map-x", {"svg": svg})
    page = browser.new_page()
    css = STYLE.with_name("page.css").read_text(encoding="utf-8")
    page.set_content(f"<style>{css}</style>{shown.html}")
    assert page.inner_text("summary") == "L<H"
    height = "details => details.getBoundingClientRect().height"
    assert page.eval_on_selector("details", height) < 100
    page.emulate_media(media="print")
    assert page.eval_on_selector("details", height) > 400
    page.emulate_media(media="screen")
    page.click("summary")
    assert page.eval_on_selector("details", height) > 400
    page.close()
