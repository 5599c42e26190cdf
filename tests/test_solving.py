"""`air solve`: puzzles as a user types them, solved by a model of the study."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner, Result

from air import paths, solving
from air.checkpoint import load_model, save_model
from air.cli import app
from air.evaluation.predictions import predict
from air.files import UserError
from air.model.network import AIR
from air.model.variants import Variant
from air.params import load_params
from air.probes.decoding import CPU
from air.sources.datasets import make
from air.tasks.puzzles import load_puzzles
from tests.conftest import ROOT


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with parameters, test puzzles and an untrained model of each task."""
    folder = tmp_path_factory.mktemp("study")
    (folder / "params.yaml").write_text((ROOT / "presets/smoke.yaml").read_text(encoding="utf-8"))
    for name in ("sudoku", "maze"):
        section = load_params(folder / "params.yaml").task(name)
        test = make(section.data.model_copy(update={"train": 2, "test": 8}))[1]
        path = folder / paths.data(name, "test")
        path.parent.mkdir(parents=True)
        test.save(path, "test")
        sizes = len(test.task.vocabulary), test.task.cells
        model = AIR(section.model, Variant.parse("Lx_H"), *sizes)
        torch.nn.init.constant_(model.q_head.bias, 1.0)  # halts at once: 1 > 0
        target = folder / paths.run(name, "Lx_H", 0)
        target.mkdir(parents=True)
        save_model(model, target / "model.safetensors", {"train": {"q_continue": False}})
    return folder


@pytest.fixture
def inside(study: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(study)
    return study


def run(*arguments: str, given: str | bytes | None = None) -> Result:
    return CliRunner().invoke(app, ["solve", *arguments], input=given)


def texts(task: str, blank: str) -> list[str]:
    puzzles = load_puzzles(paths.data(task, "test"))
    symbols = [symbol or "?" for symbol in puzzles.task.csv_symbols]
    return [
        "".join(symbols[token] for token in board).replace(".", blank) for board in puzzles.inputs
    ]


@pytest.mark.parametrize("task", ["sudoku", "maze"])
def test_answers_are_the_models(inside: Path, task: str) -> None:
    puzzles = load_puzzles(paths.data(task, "test"))
    model = load_model(paths.run(task, "Lx_H", 0) / "model.safetensors")
    x = model.embed(torch.from_numpy(puzzles.inputs.astype(np.int64)))
    z_L, z_H = model.fresh_states(len(puzzles))
    for _ in range(model.config.max_segments):
        z_L, z_H = model.segment(x, z_L, z_H)
    boards = model.decode(z_H).argmax(dim=-1).numpy().astype(np.uint8)
    faults = load_params().task(task).data.faults(puzzles.inputs, boards)
    assert any(faults)
    lines = [
        f"{''.join(puzzles.task.vocabulary[token] for token in board)}\t"
        f"{f'wrong: {fault}' if fault else 'right'}\t1"
        for board, fault in zip(boards, faults, strict=True)
    ]
    ended = run(task, "-", given="\n".join(texts(task, ".")) + "\n")
    assert ended.stdout.splitlines() == lines, ended.output


def test_an_answer_that_is_right_is_called_so(
    inside: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that is given the solution by its embedding: the board as it is."""
    puzzles = load_puzzles(paths.data("sudoku", "test"))
    solution = "".join(puzzles.task.vocabulary[token] for token in puzzles.labels[0])
    model = load_model(paths.run("sudoku", "Lx_H", 0) / "model.safetensors")
    logits = torch.nn.functional.one_hot(torch.from_numpy(puzzles.labels[:1].astype(np.int64)))
    monkeypatch.setattr(AIR, "decode", lambda self, z: logits.float().expand(len(z), -1, -1))
    assert model.cells == puzzles.task.cells
    assert run("sudoku", "--test", "0").stdout == f"{solution}\tright\t1\n"


def test_every_way_in_is_the_same(inside: Path, tmp_path: Path) -> None:
    dots, zeros = texts("sudoku", "."), texts("sudoku", "0")
    file = tmp_path / "puzzles.txt"
    file.write_text("\n\n".join(dots) + "\r\n", encoding="utf-8-sig")
    wanted = run("sudoku", *dots).stdout
    assert len(wanted.splitlines()) == len(dots)
    assert run("sudoku", *zeros).stdout == wanted
    assert run("sudoku", str(file)).stdout == wanted
    assert run("sudoku", "-", given="\n".join(zeros)).stdout == wanted
    assert run("sudoku", "--test", "3").stdout == wanted.splitlines(keepends=True)[3]


@pytest.mark.parametrize("q_continue", [True, False])
def test_a_model_halts_as_in_its_predictions(
    inside: Path, q_continue: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In batches, of which the last one is smaller."""
    puzzles = load_puzzles(paths.data("sudoku", "test"))
    kind = load_params().task("sudoku").data
    model = load_model(paths.run("sudoku", "Lx_H", 0) / "model.safetensors")
    model.origin = {"train": {"q_continue": q_continue}}
    with torch.no_grad():
        torch.nn.init.normal_(model.q_head.weight, generator=torch.Generator().manual_seed(0))
        torch.nn.init.zeros_(model.q_head.bias)
    [found] = predict(model, puzzles, len(puzzles), CPU)
    assert len(set(found.segments.tolist())) > 1
    monkeypatch.setattr(solving, "BATCH", 3)
    solved = list(solving.solve(model, kind, puzzles.inputs))
    assert [one.halted for one in solved] == found.segments.tolist()
    assert np.array_equal([one.board for one in solved], found.board)
    assert np.array_equal([one.question for one in solved], puzzles.inputs)


def test_no_puzzles_have_no_answers(inside: Path) -> None:
    ended = run("sudoku", "-", given="\n")
    assert (ended.exit_code, ended.stdout) == (0, "")


def test_watching_shows_every_update(inside: Path) -> None:
    model = load_model(paths.run("sudoku", "Lx_H", 0) / "model.safetensors")
    shown = run("sudoku", "--test", "0", "--watch").stdout
    substeps = model.config.max_segments * model.config.updates_per_segment
    assert shown.count("z_L") == substeps == shown.count("update ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["sudoku"], "give puzzles, or a test puzzle with --test"),
        (["sudoku", "12"], "puzzle 1 (no file has that name): has 2 characters, but a board of 4"),
        (
            ["sudoku", "1x.............."],
            "'x' at place 2 is not a valid character; allowed are '.01234'",
        ),
        (["sudoku", "11.............."], "the question has no solution"),
        (["sudoku", "1..............."], "the question has several solutions"),
        (["sudoku", "--test", "8"], "--test 8: data/sudoku/test.safetensors holds puzzles 0 to 7"),
        (["maze", "#" * 25], "the question must have one"),
        (["sudoku", "--test", "0", "--model", "none"], "none: there is no such file"),
        (["sudoku", "--test", "0", "--model", "results/maze/Lx_H/seed0/model.safetensors"],
         "solves boards of 25 cells with 6 tokens, but params.yaml describes sudoku boards of 4 x 4"
         " with 6"),
    ],
)  # fmt: skip
def test_bad_puzzles_are_one_sentence(inside: Path, arguments: list[str], said: str) -> None:
    ended = run(*arguments)
    assert isinstance(ended.exception, UserError)
    assert said in str(ended.exception)
    assert ended.stdout == ""


def test_a_board_from_a_pipe_may_begin_with_a_byte_order_mark(inside: Path) -> None:
    (board,) = texts("sudoku", ".")[:1]
    marked = run("sudoku", "-", given=b"\xef\xbb\xbf" + board.encode())
    assert marked.exit_code == 0, marked.output
    assert marked.stdout == run("sudoku", board).stdout


def test_what_is_no_text_in_a_pipe_is_one_sentence(inside: Path) -> None:
    ended = run("sudoku", "-", given=b"\xff")
    assert isinstance(ended.exception, UserError)
    assert str(ended.exception) == (
        "standard input: is not text in UTF-8; give puzzles, one a line"
    )


def test_a_test_set_of_other_boards_is_one_sentence(study: Path, tmp_path: Path) -> None:
    """params.yaml has changed since, and the model with it."""
    here = tmp_path / "study"
    shutil.copytree(study, here)
    text = (here / "params.yaml").read_text().replace("box: [2, 2]", "box: [2, 3]", 1)
    (here / "params.yaml").write_text(text)
    with contextlib.chdir(here):
        section = load_params().task("sudoku")
        task = section.data.task()
        model = AIR(section.model, Variant.parse("Lx_H"), len(task.vocabulary), task.cells)
        save_model(model, paths.run("sudoku", "Lx_H", 0) / "model.safetensors", {"train": {}})
        ended = run("sudoku", "--test", "0")
    assert isinstance(ended.exception, UserError)
    assert str(ended.exception) == (
        "data/sudoku/test.safetensors: holds sudoku boards of 4 x 4, but params.yaml describes "
        "sudoku boards of 6 x 6; make it again: air data sudoku"
    )
