"""The explorer: the model in the browser against the model in Python, and the page as a reader."""

import base64
import contextlib
import json
import re
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from air import paths
from air.checkpoint import load_model, save_model
from air.cli import app
from air.explorer import export, recording
from air.explorer.config import ExploreConfig
from air.files import UserError
from air.model.boards import stablemax, tensors
from air.model.config import ModelConfig
from air.model.layers import AttentionHook
from air.model.network import AIR, Level, Observer, Update
from air.model.variants import PAPER_VARIANTS, Variant
from air.params import load_params
from air.sources.datasets import make
from air.sources.sudoku import SudokuGenerated
from air.stages.explore import explore
from air.tasks.maze import FREE, GOAL, START, Maze
from air.tasks.puzzles import load_puzzles
from air.tasks.task import Puzzles
from tests.conftest import ROOT

SCRIPTS = Path(export.__file__).parent

# One rollout as the page computes it: boards, margins, attention of one cell, logits of the end.
ROLLOUT = """
async ([file, inputs, cell, frozen, begin]) => {
  const { AIR, Rollout, read_tensors } = globalThis.air;
  const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0)).buffer;
  const model = new AIR(read_tensors(bytes));
  const rollout = new Rollout(model, inputs, frozen, begin);
  const shown = { L: [], H: [] }, attention = [];
  for (let t = 0; rollout.step(); t++) {
    for (const level of ["L", "H"]) shown[level].push(rollout.shown(level, t));
    const rows = t < 6 ? rollout.attention(t, cell) : null;
    attention.push(rows && rows.map((row) => Array.from(row)));
  }
  const end = model.heads(rollout.states.at(-1).H);
  const boards = (level) => shown[level].map((one) => Array.from(one.board));
  const margins = (level) => shown[level].map((one) => Array.from(one.margin));
  return {
    boards: [boards("L"), boards("H")], margins: [margins("L"), margins("H")], attention,
    logits: Array.from(end.logits), q: [end.q_halt, end.q_continue],
  };
}
"""


@pytest.fixture(scope="module")
def script(browser: Any) -> Any:
    """A blank page in which model.js and recording.js have been loaded as one module."""
    page = browser.new_page()
    source = [(SCRIPTS / name).read_text(encoding="utf-8") for name in ("model.js", "recording.js")]
    page.evaluate(
        """async (source) => {
          const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
          globalThis.air = await import(url);
        }""",
        "\n".join(source),
    )
    yield page
    page.close()


def random_model(config: ModelConfig, variant: str, puzzles: Puzzles) -> AIR:
    """A model whose weights are all random, those too that start at zero."""
    torch.manual_seed(1)
    task = puzzles.task
    model = AIR(config, Variant.parse(variant), len(task.vocabulary), task.cells, seed=2)
    for parameter in model.parameters():
        if not parameter.any() or (parameter == parameter.flatten()[0]).all():
            torch.nn.init.normal_(parameter, std=0.5)
    with torch.no_grad():
        model.embedding.mul_(3)  # enough of the input for boards that vary from cell to cell
    return model.eval()


class Recorder(Observer):
    """Boards, margins and the attention of one cell, as ROLLOUT returns them."""

    def __init__(self, model: AIR, cell: int) -> None:
        self.model, self.cell = model, cell
        self.boards: list[list[Any]] = [[], []]
        self.margins: list[list[Any]] = [[], []]
        self.rows: list[list[Any]] = []

    def attention(self, update: Update) -> AttentionHook | None:
        rows: list[Any] = []
        self.rows.append(rows)

        def see(layer: int, q: torch.Tensor, k: torch.Tensor) -> None:
            q, k = (y[0, :, self.model.attention_lead :] for y in (q, k))
            scores = (q[:, self.cell, None] @ k.transpose(-1, -2))[:, 0] / q.shape[-1] ** 0.5
            rows.append(scores.softmax(dim=-1).flatten().tolist())

        return see

    def after(self, update: Update, z_L: torch.Tensor, z_H: torch.Tensor) -> None:
        for place, z in enumerate((z_L, z_H)):
            logits = self.model.decode(z)[0]
            best, second = stablemax(logits).topk(2, dim=-1).values.unbind(-1)
            self.boards[place].append(logits.argmax(dim=-1).tolist())
            self.margins[place].append((best - second).tolist())


@torch.inference_mode()
def compare(
    script: Any,
    model: AIR,
    file: bytes,
    puzzles: Puzzles,
    frozen: Level | None = None,
    begin: int = 0,
) -> None:
    """Hold every board of every puzzle's rollout against the browser's: equal; the rest to 1e-6.

    ``file`` holds the weights of ``model``, which computes in float64 as the browser does.
    """
    model = export.in_float64(model)
    text = base64.b64encode(file).decode()
    inputs, _ = tensors(puzzles.inputs, puzzles.labels)
    for cell, board in enumerate(inputs):
        found = script.evaluate(ROLLOUT, [text, board.tolist(), cell, frozen, begin])
        recorder = Recorder(model, cell)
        x, (z_L, z_H) = model.embed(board[None]), model.fresh_states(1)
        for segment in range(model.config.max_segments):
            freeze = frozen if segment >= begin else None
            z_L, z_H = model.segment(x, z_L, z_H, freeze, recorder)
        assert found["boards"] == recorder.boards
        np.testing.assert_allclose(found["margins"], recorder.margins, atol=1e-6)
        heads = model.heads(z_H)
        np.testing.assert_allclose(found["logits"], heads.logits.flatten(), atol=1e-6)
        np.testing.assert_allclose(found["q"], [heads.q_halt[0], heads.q_continue[0]], atol=1e-6)
        seen = iter(recorder.rows)
        for t, rows in enumerate(found["attention"][:6]):
            level = "H" if t % (model.config.L_cycles + 1) == model.config.L_cycles else "L"
            if level == frozen and begin == 0:
                assert rows is None
            else:
                np.testing.assert_allclose(rows, next(seen), atol=1e-6)


@pytest.mark.parametrize("variant", PAPER_VARIANTS)
@pytest.mark.parametrize("task", ["sudokus", "mazes"])
def test_the_browsers_model_is_the_model(
    task: str, variant: str, small_model: ModelConfig, script: Any, request: pytest.FixtureRequest
) -> None:
    puzzles = request.getfixturevalue(task)[1].first(3)
    model = random_model(small_model, variant, puzzles)
    compare(script, model, export.model_file(model, torch.float32), puzzles)


SHIPPED = sorted((ROOT / paths.MODELS).glob("*/*/*.safetensors"))


@cache
def first_puzzles(preset: str, task: str) -> Puzzles:
    """The first 20 test puzzles of a study, generated as it generates them."""
    data = load_params(ROOT / f"presets/{preset}.yaml").task(task).data
    return make(data.model_copy(update={"test": 20}))[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "path",
    SHIPPED,
    ids=lambda path: "-".join(path.parts[-3:]),
)
def test_the_browsers_trained_models_are_the_models(path: Path, script: Any) -> None:
    """All their digits, and the format that the page would store, each beside the same weights."""
    model, puzzles = load_model(path), first_puzzles(*path.parts[-3:-1])
    for stored in {torch.float32, export.shortest_format(model, puzzles)}:
        file = export.model_file(model, stored)
        compare(script, export.in_float64(model, stored), file, puzzles.first(4))


@pytest.mark.parametrize("positions", ["learned", "both"])
@pytest.mark.parametrize("cycles", [(1, 3), (3, 1)])
def test_every_shape_of_a_model(
    positions: str,
    cycles: tuple[int, int],
    small_model: ModelConfig,
    script: Any,
    sudokus: tuple[Puzzles, Puzzles],
) -> None:
    changed = {"positions": positions, "H_cycles": cycles[0], "L_cycles": cycles[1], "layers": 1}
    config = ModelConfig(**{**small_model.model_dump(), **changed})
    puzzles = sudokus[1].first(2)
    model = random_model(config, "Lx_H", puzzles)
    compare(script, model, export.model_file(model, torch.float32), puzzles)


@pytest.mark.parametrize("variant", ["Lx_H", "level_token_prepend", "level_token_prepend_no_strip"])
@pytest.mark.parametrize(
    "sizes",
    [
        {"slots": 4, "positions": "none"},
        {"slots": 3, "positions": "both"},
        {"slots": 2, "positions": "none", "mixing": "mlp"},
        {"positions": "learned", "mixing": "mlp"},
    ],
)
def test_models_like_trms_are_the_same(
    sizes: dict[str, Any],
    variant: str,
    small_model: ModelConfig,
    script: Any,
    sudokus: tuple[Puzzles, Puzzles],
) -> None:
    config = ModelConfig(**{**small_model.model_dump(), **sizes})
    puzzles = sudokus[1].first(2)
    model = random_model(config, variant, puzzles)
    compare(script, model, export.model_file(model, torch.float32), puzzles)


@pytest.mark.parametrize(("frozen", "begin"), [("H", 0), ("L", 0), ("H", 1), ("L", 2)])
def test_freezing_is_the_same(
    frozen: Level,
    begin: int,
    small_model: ModelConfig,
    script: Any,
    mazes: tuple[Puzzles, Puzzles],
) -> None:
    puzzles = mazes[1].first(2)
    model = random_model(small_model, "L2x_H", puzzles)
    file = export.model_file(model, torch.float32)
    compare(script, model, file, puzzles, frozen, begin)


@pytest.mark.parametrize("stored", export.FORMATS)
def test_weights_arrive_as_they_were_stored(
    stored: torch.dtype, small_model: ModelConfig, script: Any, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(2)
    model = random_model(small_model, "Lx_H", puzzles)
    with torch.no_grad():
        model.embedding[:2] *= 1e-5  # numbers that float16 holds with fewer digits
    rounded = export.in_float64(model, stored)
    compare(script, rounded, export.model_file(model, stored), puzzles)


def test_the_shortest_format_that_changes_no_board_is_taken(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(2)
    model = random_model(small_model, "Lx_H", puzzles)
    exact = export.in_float64(model, torch.float16)
    assert export.shortest_format(exact, puzzles) == torch.float16
    with torch.no_grad():  # beyond what float16 can hold, whatever bfloat16 makes of it
        model.q_head.bias.zero_()
        model.embedding[1] = 1e5 * model.embedding[1].sign()
        model.lm_head.weight.copy_(model.lm_head.weight.bfloat16())
    wide = export.in_float64(model, torch.bfloat16)
    assert export.shortest_format(wide, puzzles) == torch.bfloat16
    with torch.no_grad():  # two tokens that differ in the last digit only
        wide.lm_head.weight[3] = wide.lm_head.weight[2] * (1 + 2**-20)
    assert export.shortest_format(wide, sudokus[1]) == torch.float32


# A recording as the page plays it: boards, margins, attention of one cell in the first updates.
PLAYED = """
([bytes, about, puzzle, size, cell, ts]) => {
  const recording = new air.Recorded(about, Uint8Array.from(bytes), puzzle, size);
  const shown = { L: [], H: [] };
  while (recording.step()) {
    const t = recording.computed - 1;
    for (const level of ["L", "H"]) shown[level].push(recording.shown(level, t));
  }
  const boards = (level) => shown[level].map((one) => Array.from(one.board));
  const margins = (level) => shown[level].map((one) => Array.from(one.margin));
  return {
    boards: [boards("L"), boards("H")], margins: [margins("L"), margins("H")],
    attention: ts.map((t) => recording.attention(t, cell).map((row) => Array.from(row))),
  };
}
"""


@torch.inference_mode()
@pytest.mark.parametrize(
    "sizes",
    [
        {"H_cycles": 1, "L_cycles": 3},
        {"H_cycles": 3, "L_cycles": 1, "slots": 3},
        {"mixing": "mlp", "positions": "learned"},
    ],
)
@pytest.mark.parametrize("task", ["sudokus", "mazes"])
def test_a_recording_plays_as_the_rollout(
    task: str,
    sizes: dict[str, Any],
    small_model: ModelConfig,
    script: Any,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recording, "ATTENTION_BYTES", 20 * 20)  # all of 16 cells, 16 of 25
    monkeypatch.setattr(recording, "SEGMENTS", 2)
    puzzles = request.getfixturevalue(task)[1].first(3)
    config = ModelConfig(**{**small_model.model_dump(), **sizes})
    model = random_model(config, "Lx_H", puzzles)
    made = recording.recorded(model, puzzles)
    assert len(made.content) <= len(puzzles) * recording.bytes_per_puzzle(model)
    assert made.facts["segments"] == [0, config.max_segments - 1]
    updates = config.updates_per_segment
    about = {
        "segments": config.max_segments,
        "updates": updates,
        "L_cycles": config.L_cycles,
        "recorded": made.facts,
    }
    first = [updates * segment for segment in made.facts["segments"]]
    ts = [t + later for t in first for later in (0, config.L_cycles)]
    inputs, _ = tensors(puzzles.inputs, puzzles.labels)
    for number, board in enumerate(inputs):
        cells = made.facts["cells"][number]
        query = np.flatnonzero(puzzles.task.query_cells(*board_of(puzzles, number))[0])
        if config.mixing == "mlp":
            assert cells == []
        else:
            assert set(cells) == set(range(16)) if task == "sudokus" else set(cells) <= set(query)
        cell = cells[-1] if cells else 0
        sent = [list(made.content), about, number, puzzles.task.cells, cell, ts]
        found = script.evaluate(PLAYED, sent)
        recorder = Recorder(model, cell)
        x, (z_L, z_H) = model.embed(board[None]), model.fresh_states(1)
        for _ in range(config.max_segments):
            z_L, z_H = model.segment(x, z_L, z_H, observer=recorder)
        assert found["boards"] == recorder.boards
        np.testing.assert_allclose(found["margins"], recorder.margins, atol=0.5 / 255 + 1e-6)
        for t, rows in zip(ts, found["attention"], strict=True):
            every = np.array(recorder.rows[t]).reshape(-1, puzzles.task.cells)
            means = [every.mean(axis=0)] if len(every) else []
            assert len(rows) == len(means)
            np.testing.assert_allclose(rows, means, atol=0.01)


def board_of(puzzles: Puzzles, number: int) -> tuple[np.ndarray, np.ndarray]:
    one = puzzles.slice(number, number + 1)
    return one.inputs, one.labels


def test_a_maze_without_a_path_to_ask_about_is_recorded_too() -> None:
    """Start and goal side by side: no cell is on the path between them."""
    board = np.full(900, FREE, dtype=np.uint8)
    board[:2] = START, GOAL
    cells = recording.kept_cells(Maze(30), board, board, 18)
    assert len(cells) == 18
    assert (cells[0], cells[-1]) == (0, 899)


@pytest.mark.parametrize(
    ("size", "wrong", "problem"),
    [
        (9, "1" * 80, "A Sudoku of this size has 81 characters, row by row, not 80."),
        (9, "." * 80 + "x", "Character 81, “X”, is none of 1 to 9 or . for a blank."),
        (6, "." * 81, "A Sudoku of this size has 36 characters, row by row, not 81."),
        (6, "." * 35 + "7", "Character 36, “7”, is none of 1 to 6 or . for a blank."),
    ],
)
def test_a_pasted_line_is_a_board_or_a_sentence(
    size: int, wrong: str, problem: str, browser: Any
) -> None:
    config = SudokuGenerated(
        source="generate", box={9: [3, 3], 6: [2, 3]}[size], clues=size**2 // 2, train=1, test=2
    )
    puzzles = make(config)[1]
    facts = export.task_facts(puzzles.task)
    page = browser.new_page()
    page.add_script_tag(content=(SCRIPTS / "puzzles.js").read_text(encoding="utf-8"))

    def call(function: str, *arguments: Any) -> Any:
        return page.evaluate(f"([...given]) => {function}(...given)", [facts, *arguments])

    for blank in ".0_":
        line = "".join(blank if token == 1 else str(token - 1) for token in puzzles.inputs[0])
        spaced = "\n".join(" " + line[at : at + size] for at in range(0, size**2, size))
        for text in (line, spaced):
            board = call("sudoku_from", text)
            assert board == puzzles.inputs[0].tolist()
    found = call("sudoku_answers", board)
    assert found["count"] == 1
    assert found["answer"] == puzzles.labels[0].tolist()
    assert call("sudoku_from", wrong) == problem
    page.close()


# The page ----------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def study(small_study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A made-up study with small models of random weights, and the explorer's page of it."""
    folder = tmp_path_factory.mktemp("explored") / "study"
    shutil.copytree(small_study, folder)
    with contextlib.chdir(folder):
        for task in ("sudoku", "maze"):
            puzzles = load_puzzles(paths.data(task, "test"))
            for variant in ("Lx_H", "Lx_Hx"):
                model = random_model(CONFIG, variant, puzzles)
                path = paths.run(task, variant, 0) / "model.safetensors"
                save_model(model, path, {"task": task, "seed": 0})
        ended = CliRunner().invoke(app, ["explore"], catch_exceptions=False)
        assert ended.stderr.endswith("reports/html/explore.html written\n")
    return folder


CONFIG = ModelConfig(
    layers=2, hidden_size=16, heads=2, expansion=2.0, inner_multiple=8, max_segments=3
)
LAST = 3 * CONFIG.updates_per_segment


class Reader:
    """The page as someone sees it who opened it from the disk; `problems` is what went wrong."""

    def __init__(
        self, browser: Any, study: Path, fragment: str = "", scheme: str = "light"
    ) -> None:
        size = {"width": 1280, "height": 900}
        self.page = browser.new_page(viewport=size, color_scheme=scheme)
        self.problems: list[str] = []
        self.page.on("console", lambda message: self.problems.append(message.text))
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on(
            "request",
            lambda asked: (
                None if asked.url[:4] in ("file", "blob") else self.problems.append(asked.url)
            ),
        )
        self.page.goto(f"file://{study}/reports/html/explore.html{fragment}")
        self.wait()

    def wait(self) -> None:
        """Until every time line has reached the last sub-step, and both maps are there."""
        self.page.wait_for_function(
            """(last) => Array.from(document.querySelectorAll(".line")).every((line) =>
              (line.querySelector(".changed")?.getAttribute("d") ?? "")
                .includes(`L${last - .5} `)) &&
              Array.from(document.querySelectorAll(".share")).every((one) => one.textContent)""",
            arg=LAST,
        )

    def board(self, place: int) -> list[str]:
        """The symbols on a board of the states: 0 is the first variant's z_L, 1 its z_H."""
        texts = self.page.locator("#panes .board").nth(place).locator("text")
        return [str(text) for text in texts.all_text_contents()]

    def puzzle(self) -> list[str]:
        return [str(text) for text in self.page.locator("#puzzle-board text").all_text_contents()]

    def text(self, selector: str) -> str:
        return str(self.page.locator(selector).first.text_content())

    def close(self) -> None:
        self.page.close()
        assert self.problems == []


@pytest.fixture
def reader(browser: Any, study: Path) -> Any:
    opened = Reader(browser, study)
    yield opened
    opened.close()


def symbols(study: Path, task: str, variant: str, inputs: np.ndarray) -> list[list[list[str]]]:
    """What the page must show, from the model file: [sub-step][state][cell]; undecided is ""."""
    puzzles = load_puzzles(study / paths.data(task, "test"))
    model = export.in_float64(load_model(study / paths.run(task, variant, 0) / "model.safetensors"))
    of = Puzzles(puzzles.task, inputs[None].astype(np.uint8), inputs[None].astype(np.uint8), 0)
    vocabulary = [
        "" if token == of.task.undecided_token else symbol
        for token, symbol in enumerate(of.task.vocabulary)
    ]
    boards = export.decoded(model, of)[:, 0].reshape(-1, 2, len(inputs))
    return [[[vocabulary[token] for token in z] for z in both] for both in boards]


def test_the_page_shows_what_the_models_decode(reader: Reader, study: Path) -> None:
    inputs = load_puzzles(study / paths.data("sudoku", "test")).inputs[0]
    reader.page.keyboard.press("End")
    for t in (LAST - 1, LAST - 2):
        assert reader.text("#where").startswith(f"sub-step {t + 1} of {LAST}: segment 3")
        for variant, place in (("Lx_H", 0), ("Lx_Hx", 2)):
            right = symbols(study, "sudoku", variant, inputs)[t]
            assert [reader.board(place), reader.board(place + 1)] == right
            assert all(len(set(board)) > 1 for board in right)
        reader.page.keyboard.press("ArrowLeft")


def test_playing_ends_at_the_end(reader: Reader) -> None:
    reader.page.locator("#t").fill(str(LAST - 2))
    reader.page.click("#play")
    reader.page.wait_for_function(f"document.getElementById('t').value == {LAST}")
    reader.page.wait_for_function("document.getElementById('play').textContent === 'Play'")


@pytest.fixture(scope="module")
def uneven_study(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study with a second model of half as many sub-steps, and of one layer."""
    folder = tmp_path_factory.mktemp("uneven") / "study"
    shutil.copytree(study, folder)
    with contextlib.chdir(folder):
        puzzles = load_puzzles(paths.data("sudoku", "test"))
        model = random_model(SHORT, "Lx_Hx", puzzles)
        path = paths.run("sudoku", "Lx_Hx", 0) / "model.safetensors"
        save_model(model, path, {"task": "sudoku", "seed": 0})
        CliRunner().invoke(app, ["explore"], catch_exceptions=False)
    return folder


SHORT = CONFIG.model_copy(update={"H_cycles": 1, "layers": 1})
SOONER = 3 * SHORT.updates_per_segment


class Uneven(Reader):
    def wait(self) -> None:
        self.page.wait_for_function(
            "Array.from(document.querySelectorAll('progress')).every(one => one.className)"
        )


def test_models_with_rollouts_of_other_lengths_play_side_by_side(
    browser: Any, uneven_study: Path
) -> None:
    inputs = load_puzzles(uneven_study / paths.data("sudoku", "test")).inputs[0]
    reader = Uneven(browser, uneven_study, f"#t={SOONER + 2}&layer=2")
    assert reader.text("#where").startswith(f"sub-step {SOONER + 2} of {LAST}: Lx_H segment 2")
    assert reader.page.locator("#layer").input_value() == "1"  # both have this one
    reader.page.locator("#t").fill(str(SOONER - 1))
    reader.page.click("#play")
    reader.page.wait_for_function(f"document.getElementById('t').value == {LAST}")
    reader.page.wait_for_function("document.getElementById('play').textContent === 'Play'")
    assert reader.text("#where") == (
        f"sub-step {LAST} of {LAST}: Lx_H segment 3, H-update; Lx_Hx has ended after {SOONER}"
    )
    for variant, place in (("Lx_H", 0), ("Lx_Hx", 2)):
        right = symbols(uneven_study, "sudoku", variant, inputs)[-1]
        assert [reader.board(place), reader.board(place + 1)] == right
    reader.close()


def test_the_name_of_a_board_follows_the_chosen_cell(reader: Reader) -> None:
    board = reader.page.locator("#panes svg[role=img]").first
    board.focus()
    board.press("ArrowRight")
    assert "row 1, column 2 shows" in board.get_attribute("aria-label")


def test_the_address_of_an_edited_puzzle_keeps_which_one_it_was(browser: Any, study: Path) -> None:
    reader = Reader(browser, study, "#puzzle=2")
    before = reader.puzzle()
    reader.page.fill("#paste", "1234 3412 2143 432.")
    reader.page.click("#paste-form button")
    reader.page.wait_for_function("location.hash.includes('board=')")
    again = Reader(browser, study, reader.page.evaluate("location.hash"))
    assert again.text("#puzzle-title") == "Puzzle, edited"
    again.page.click("#reset")
    assert again.text("#puzzle-title") == "Test puzzle 2"
    assert again.puzzle() == before
    reader.close()
    again.close()


def test_a_maze_in_the_address_has_no_path_in_it(browser: Any, study: Path) -> None:
    reader = Reader(browser, study, f"#task=maze&board=35{'2' * 22}4")
    assert reader.text("#puzzle-title") == "Test puzzle 1"
    reader.close()


def test_a_cell_pointed_at_is_forgotten_with_its_board(browser: Any, study: Path) -> None:
    """The next one may have fewer."""
    reader = Reader(browser, study, "#task=maze")
    reader.page.locator("#puzzle-board rect").nth(24).hover(force=True)
    assert reader.text("#query").startswith("From row 5, column 5")
    reader.page.evaluate("location.hash = '#task=sudoku'")
    reader.page.wait_for_function("document.querySelectorAll('#puzzle-board rect').length === 16")
    reader.wait()
    assert reader.text("#query").startswith("From row 1, column 1")
    reader.close()


def test_a_frozen_state_stays_and_has_no_update(reader: Reader, study: Path) -> None:
    reader.page.select_option("#freeze", "H")
    reader.wait()
    reader.page.keyboard.press("Home")
    first = reader.board(1)
    reader.page.keyboard.press("End")
    assert reader.board(1) == first
    reader.page.wait_for_function(
        "document.querySelectorAll('.share')[1].textContent === 'no update: z_H is frozen'"
    )
    reader.page.select_option("#from", "3")
    reader.wait()
    inputs = load_puzzles(study / paths.data("sudoku", "test")).inputs[0]
    right = symbols(study, "sudoku", "Lx_H", inputs)[LAST - CONFIG.updates_per_segment - 1][1]
    assert right != first
    for key in ("Home", "End"):
        reader.page.keyboard.press(key)
    assert reader.board(1) == right


def test_a_sudoku_is_edited_by_keys(reader: Reader, study: Path) -> None:
    board = reader.page.locator("#puzzle-board svg")
    board.focus()
    before = reader.puzzle()
    blank, given = before.index(""), next(i for i, text in enumerate(before) if text)
    for _ in range(blank % 4):
        board.press("ArrowRight")
    for _ in range(blank // 4):
        board.press("ArrowDown")
    labels = load_puzzles(study / paths.data("sudoku", "test")).labels[0]
    board.press(str(labels[blank] - 1))
    reader.wait()
    assert reader.puzzle()[blank] == str(labels[blank] - 1)
    assert reader.text("#puzzle-title") == "Puzzle, edited"
    assert reader.text("#message") == ""  # still one solution
    peer = next(text for i, text in enumerate(before) if text and i // 4 == given // 4)
    row = [i for i in range(4 * (given // 4), 4 * (given // 4) + 4) if not before[i]]
    assert row, "the first row with a given digit is full"
    reader.page.locator("#puzzle-board rect").nth(row[0]).click(force=True)
    reader.page.locator("#puzzle-board svg").press(peer)
    reader.wait()
    assert reader.text("#message") == "This Sudoku has no solution."
    edited = reader.puzzle()
    inputs = np.array([1 if text == "" else int(text) + 1 for text in edited])
    reader.page.keyboard.press("Escape")
    reader.page.locator("h1").click()
    reader.page.keyboard.press("End")
    assert reader.board(1) == symbols(study, "sudoku", "Lx_H", inputs)[-1][1]
    reader.page.click("#reset")
    assert reader.puzzle() == before


def test_a_sudoku_is_pasted(reader: Reader) -> None:
    for pasted, message in (
        ("12 34", "A Sudoku of this size has 16 characters, row by row, not 4."),
        ("1234 34.. .... ...9", "Character 16, “9”, is none of 1 to 4 or . for a blank."),
        (". " * 16, "This Sudoku has several solutions."),
        ("11" + "." * 14, "This Sudoku has no solution."),
        ("1234 3412 2143 432.", ""),
    ):
        reader.page.fill("#paste", pasted)
        reader.page.click("#paste-form button")
        assert reader.text("#message") == message
    reader.wait()
    assert reader.puzzle() == [*"123434122143432", ""]


def test_walls_are_built_by_click(browser: Any, study: Path) -> None:
    reader = Reader(browser, study, "#task=maze")
    puzzles = load_puzzles(study / paths.data("maze", "test"))
    start = int((puzzles.inputs[0] == 3).argmax())
    free = np.flatnonzero(puzzles.task.peers[start] & (puzzles.inputs[0] == 2))
    for cell in free:
        reader.page.locator("#puzzle-board rect").nth(int(cell)).click(force=True)
        reader.wait()
    assert reader.text("#message") == "No path leads from start to goal."
    reader.page.click("#reset")
    assert reader.text("#message") == ""
    reader.close()


def test_start_and_goal_are_moved_by_keys(browser: Any, study: Path) -> None:
    reader = Reader(browser, study, "#task=maze")
    board = reader.page.locator("#puzzle-board svg")

    def press(key: str, cell: int) -> list[str]:
        for arrow, times in (("Up", 4), ("Left", 4), ("Down", cell // 5), ("Right", cell % 5)):
            for _ in range(times):
                board.press(f"Arrow{arrow}")
        board.press(key)
        reader.wait()
        return reader.puzzle()

    before = reader.puzzle()
    start, goal, free = (before.index(symbol) for symbol in "SG ")
    moved = press("s", free)
    assert (moved.index("S"), moved.index("G"), moved[start]) == (free, goal, " ")
    swapped = press("G", free)
    assert (swapped.index("S"), swapped.index("G")) == (goal, free)
    assert sum(token in ("S", "G") for token in swapped) == 2
    assert press("g", free) == swapped  # where it is already
    reader.close()


@pytest.mark.parametrize(
    ("board", "message"),
    [
        ("3422222222222222222222222", ""),  # side by side
        ("3222411111222222222222222", ""),  # along a wall
        ("3212211111222222222222224", "No path leads from start to goal."),
        ("3222222222222222222222224", "Several shortest paths lead from start to goal, so"),
        ("3222222112224222222222222", "Several shortest paths lead from start to goal, so"),
        ("3222212112124222222222222", ""),  # with a wall in all but one
    ],
)
def test_a_maze_has_an_answer_if_one_path_is_shortest(
    board: str, message: str, browser: Any, study: Path
) -> None:
    reader = Reader(browser, study, f"#task=maze&board={board}")
    assert reader.text("#puzzle-title") == "Puzzle, edited"
    found = reader.text("#message")
    assert found.startswith(message) and bool(found) == bool(message)
    counts = reader.text(".counts")
    assert counts.startswith("right") == (not message)  # against the answer, where there is one
    reader.close()


def test_the_address_holds_the_view(browser: Any, study: Path) -> None:
    reader = Reader(browser, study)
    reader.page.select_option("#task", "maze")
    reader.wait()
    reader.page.select_option("#b", "")
    reader.page.select_option("#puzzle", "2")
    reader.page.select_option("#freeze", "L")
    reader.page.select_option("#layer", "2")
    reader.page.select_option("#head", "1")
    reader.page.locator("#t").fill("7")
    reader.wait()
    reader.page.wait_for_function("location.hash.includes('t=7')")
    fragment = reader.page.evaluate("location.hash")
    shown = [reader.puzzle(), reader.board(0), reader.board(1), reader.text(".share")]
    again = Reader(browser, study, fragment)
    assert [again.puzzle(), again.board(0), again.board(1), again.text(".share")] == shown
    for key, value in {"task": "maze", "b": "", "freeze": "L", "layer": "2", "head": "1"}.items():
        assert again.page.locator(f"#{key}").input_value() == value
    reader.close()
    again.close()


def test_any_address_opens(browser: Any, study: Path) -> None:
    reader = Reader(browser, study, "#task=chess&a=x&b=y&t=999&cell=-4&freeze=Q&layer=9&board=zz")
    assert reader.text("#where").startswith("sub-step 1 of")
    assert reader.text("#puzzle-title") == "Test puzzle 1"
    reader.close()


def test_a_cells_attention_is_the_models(reader: Reader, study: Path) -> None:
    """The share on the neighbourhood, over all layers and heads, of the first L- and H-update."""
    puzzles = load_puzzles(study / paths.data("sudoku", "test")).first(1)
    model = export.in_float64(load_model(study / "results/sudoku/Lx_H/seed0/model.safetensors"))
    cell = 6
    recorder = Recorder(model, cell)
    x = model.embed(tensors(puzzles.inputs, puzzles.labels)[0])
    with torch.inference_mode():
        model.segment(x, *model.fresh_states(1), observer=recorder)
    near = puzzles.task.neighbourhoods["nbr"].matrix[cell]
    reader.page.locator("#panes rect").nth(cell).hover(force=True)
    for place, update in ((0, 0), (1, 2)):
        rows = np.array(recorder.rows[update]).reshape(-1, 16)
        share = f"{100 * rows[:, near].sum(axis=1).mean():.0f}% on its neighbourhood"
        reader.page.wait_for_function(
            "([place, share]) => document.querySelectorAll('.share')[place].textContent"
            ".startsWith(share)",
            arg=[place, share],
        )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("task", ["sudoku", "maze"])
def test_the_page_is_for_everyone(browser: Any, study: Path, task: str, scheme: str) -> None:
    reader = Reader(browser, study, f"#task={task}", scheme)
    assert_accessible(reader)
    reader.page.set_viewport_size({"width": 390, "height": 800})  # a phone
    assert reader.page.evaluate("document.documentElement.scrollWidth") <= 390
    reader.close()


def assert_accessible(reader: Reader) -> None:
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(reader.page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] != "minor"] == []


# The contrast (WCAG 2) of each symbol with its cell, as the browser computes colours.
CONTRASTS = """() => {
  const canvas = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const luminance = (colour) => {
    canvas.fillStyle = colour;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = Array.from(canvas.getImageData(0, 0, 1, 1).data.slice(0, 3), (channel) => {
      const share = channel / 255;
      return share <= .04045 ? share / 12.92 : ((share + .055) / 1.055) ** 2.4;
    });
    return .2126 * r + .7152 * g + .0722 * b;
  };
  return Array.from(document.querySelectorAll("#puzzle-board rect, #panes rect"), (rect) => {
    const text = rect.nextElementSibling;
    if (!text.textContent.trim()) return 21;
    const pair = [rect, text].map((one) => luminance(getComputedStyle(one).fill));
    return (Math.max(...pair) + .05) / (Math.min(...pair) + .05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("task", ["sudoku", "maze"])
def test_symbols_stand_out_from_their_cells(
    browser: Any, study: Path, task: str, scheme: str
) -> None:
    """Where the model is sure: paleness is meant to be pale."""
    reader = Reader(browser, study, f"#task={task}&margin=no&t={LAST}", scheme)
    found = reader.page.evaluate(CONTRASTS)
    assert min(found) >= 4.5
    assert any(contrast < 21 for contrast in found)
    background = reader.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(255, 255, 255)") == (scheme == "light")
    reader.close()


def test_the_keyboard_is_enough(reader: Reader) -> None:
    def focused() -> str:
        return str(
            reader.page.evaluate(
                """() => document.activeElement.id || document.activeElement.parentElement.id"""
            )
        )

    def tab_to(place: str) -> None:
        for _ in range(30):
            reader.page.keyboard.press("Tab")
            passed.append(focused())
            if passed[-1] == place:
                return
        raise AssertionError(f"{place} cannot be reached: {passed}")

    passed: list[str] = []
    tab_to("task")
    tab_to("puzzle-board")
    assert [place for place in passed if place in ("task", "a", "b", "freeze", "margin")] == [
        "task", "a", "b", "freeze", "margin"
    ]  # fmt: skip
    before = reader.puzzle()
    reader.page.keyboard.press("ArrowDown")
    cell = 4 + before[4:8].index("")
    for _ in range(cell - 4):
        reader.page.keyboard.press("ArrowRight")
    reader.page.keyboard.press("3")
    reader.wait()
    assert [cell for cell in range(16) if reader.puzzle()[cell] != before[cell]] == [cell]
    assert focused() == "puzzle-board"  # to go on typing
    reader.page.keyboard.press("Delete")
    reader.wait()
    assert reader.puzzle() == before
    tab_to("reset")
    reader.page.keyboard.press("Enter")
    assert reader.text("#puzzle-title") == "Test puzzle 1"
    tab_to("play")
    reader.page.keyboard.press("Enter")
    reader.page.wait_for_function(f"document.getElementById('t').value == {LAST}")
    tab_to("t")
    reader.page.keyboard.press("Home")
    assert reader.text("#where").startswith("sub-step 1 of")
    reader.page.keyboard.press("Tab")  # the first variant's z_L
    reader.page.keyboard.press("ArrowRight")
    reader.page.wait_for_function(
        "document.getElementById('query').textContent.startsWith('From row 2, column')"
    )
    tab_to("layer")
    reader.page.keyboard.press("ArrowDown")
    assert reader.page.locator("#layer").input_value() == "1"


@pytest.fixture(scope="module")
def recorded_study(study: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same study with too little room for its models."""
    folder = tmp_path_factory.mktemp("recorded") / "study"
    shutil.copytree(study, folder)
    with contextlib.chdir(folder):
        params = Path("params.yaml")
        text = params.read_text(encoding="utf-8")
        text = text.replace("seeds: null, puzzles: 20", "seeds: null, puzzles: 20, megabytes: 0.03")
        params.write_text(text, encoding="utf-8")
        ended = CliRunner().invoke(app, ["explore"], catch_exceptions=False)
    assert ended.stderr.splitlines()[-2:] == [
        "explore: maze Lx_H seed 0, Lx_Hx seed 0: more than 2,812 parameters, too large for "
        "maze.explore.megabytes 0.03; the page shows recorded rollouts of 2 test puzzles instead",
        "reports/html/explore.html written",
    ]
    return folder


def test_a_large_model_is_shown_by_recorded_rollouts(
    browser: Any, study: Path, recorded_study: Path
) -> None:
    live, recorded = Reader(browser, study), Reader(browser, recorded_study)
    number = recorded.page.locator("#puzzle option:not([value=edited])").count()
    assert 1 < number < 20
    for key in ("puzzle", "task"):
        for reader in (live, recorded):
            reader.page.select_option(f"#{key}", {"puzzle": str(number - 1), "task": "maze"}[key])
            reader.wait()
        for t in (1, 2, 3, LAST - 1, LAST):
            for reader in (live, recorded):
                reader.page.locator("#t").fill(str(t))
            boards = [[reader.board(place) for place in range(4)] for reader in (live, recorded)]
            assert boards[0] == boards[1]
            assert live.text(".counts") == recorded.text(".counts")
    assert "run here, in your browser" in live.text("main")
    assert "have been recorded" in recorded.text("main")
    size = [(path / "reports/html/explore.html").stat().st_size for path in (study, recorded_study)]
    assert size[1] < size[0]
    live.close()
    recorded.close()


def test_what_a_recording_cannot_do_is_said_and_off(browser: Any, recorded_study: Path) -> None:
    fragment = "#freeze=H&layer=2&board=1111111111111111&cell=6"
    reader = Reader(browser, recorded_study, fragment)
    model = load_model(recorded_study / "results/sudoku/Lx_H/seed0/model.safetensors")
    count = sum(parameter.numel() for parameter in model.parameters())
    why = reader.text("#recorded")
    assert why.startswith(f"Lx_H has {count:,} and Lx_Hx has {count:,} parameters, too many")
    assert "the puzzle cannot be edited and no state can be frozen" in why
    assert why.endswith("in the first updates of segments 1, 2, and 3.")
    for key in ("freeze", "layer", "head"):
        assert reader.page.locator(f"#{key}").is_disabled()
    assert reader.page.locator("#freeze").input_value() == ""
    assert reader.text("#puzzle-title") == "Test puzzle 1"
    assert not reader.page.locator("#paste-form").is_visible()
    before = reader.puzzle()
    board = reader.page.locator("#puzzle-board svg")
    board.press("ArrowRight")
    board.press("1")
    assert reader.puzzle() == before
    assert_accessible(reader)
    reader.close()


def test_a_recordings_attention_is_that_of_its_first_updates(
    browser: Any, study: Path, recorded_study: Path
) -> None:
    updates = CONFIG.updates_per_segment
    live = Reader(browser, study, f"#t={updates + 1}&cell=6")
    shares = [live.text(".share"), live.page.locator(".share").nth(1).text_content()]
    recorded = Reader(browser, recorded_study, f"#t={updates + 5}&cell=6")
    titles = recorded.page.locator("#maps h4").all_text_contents()
    assert titles[:2] == [
        f"L-update, sub-step {updates + 1}", f"H-update, sub-step {updates + CONFIG.L_cycles + 1}"
    ]  # fmt: skip
    found = [recorded.text(".share"), recorded.page.locator(".share").nth(1).text_content()]
    for one, other in zip(shares, found, strict=True):
        percents = [float(text.split("%")[0]) for text in (one, other)]
        assert abs(percents[0] - percents[1]) <= 1
    live.close()
    recorded.close()


@pytest.mark.parametrize(("models", "most"), [(1, 468_750), (4, 117_187)])
def test_the_largest_model_of_a_page_follows_from_its_room(models: int, most: int) -> None:
    """2.5 MB hold 468,750 numbers of 4 bytes, each 16/3 bytes of base64."""
    assert ExploreConfig().most_parameters(models) == most


def test_what_the_study_says_stands_beside_what_to_try(reader: Reader, study: Path) -> None:
    folder = study / paths.run("sudoku", "Lx_H", 0)
    freeze = json.loads((folder / "freeze.json").read_text(encoding="utf-8"))
    tries = reader.page.locator(".tries li")
    assert tries.count() == 3
    solved = freeze["freeze_H"]["z_L"]["exact_accuracy"]
    assert f"z_L then solves {solved:.0%} instead of" in tries.nth(1).text_content()
    tries.nth(1).locator("a").click()
    reader.wait()
    assert reader.page.locator("#freeze").input_value() == "H"


def test_a_missing_model_is_one_sentence(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study")
    with contextlib.chdir(tmp_path / "study"):
        page = paths.page("explore")
        page.unlink()
        missing = paths.run("maze", "Lx_Hx", 0) / "model.safetensors"
        missing.unlink()
        with pytest.raises(UserError, match=f"^{missing}: there is no such file"):
            explore()
        assert not page.exists()


def test_a_study_without_models_says_so(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study, tmp_path / "study")
    with contextlib.chdir(tmp_path / "study"):
        params = Path("params.yaml")
        text = params.read_text(encoding="utf-8")
        params.write_text(text.replace("variants: null, seeds: null", "variants: [], seeds: []"))
        assert "No model is here" in explore().read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("section", "problem"),
    [
        ("variants: [L_Hx], seeds: null", "sudoku.explore.variants: L_Hx is not among"),
        ("variants: null, seeds: [7]", "sudoku.explore.seeds: 7 is not among"),
        ("variants: [Lx_H, Lx_H], seeds: null", "sudoku.explore.variants: Lx_H is listed twice"),
    ],
)
def test_only_trained_models_can_be_explored(section: str, problem: str, tmp_path: Path) -> None:
    text = (ROOT / "presets/smoke.yaml").read_text(encoding="utf-8")
    path = tmp_path / "params.yaml"
    path.write_text(text.replace("variants: null, seeds: null", section, 1), encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(problem)):
        load_params(path)
