"""Puzzles that a user types, solved by a trained model: what `air solve` does."""

import logging
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from rich.console import Console, Group
from rich.live import Live
from rich.style import Style
from rich.table import Table
from rich.text import Text

from air import paths
from air.checkpoint import load_model
from air.evaluation.predictions import predict
from air.files import UserError, reading, there
from air.model.network import AIR, Level
from air.params import Params, load_params
from air.probes.decoding import CPU, decoded_rollout
from air.sources.config import Data
from air.sources.imports import symbols_of
from air.tasks.puzzles import load_puzzles
from air.tasks.task import Puzzles, Task

log = logging.getLogger(__name__)
BATCH = 256
WRONG, GIVEN, OPEN = Style(color="red"), Style(bold=True), Style(dim=True)
CHANGED = Style(reverse=True)


@dataclass(frozen=True)
class Solved:
    """What a model answers to one puzzle."""

    question: np.ndarray  #: [S]
    board: np.ndarray  #: [S], shown by z_H after the last segment
    fault: str  #: what is wrong with it; "" if it is right
    halted: int  #: the segment after which the model would have halted, from 1


def answer(
    task_name: str,
    puzzles: list[str],
    path: Path | None,
    run: tuple[str, int],
    test: int | None,
    watched: bool,
) -> None:
    """Print a model's answers: a single one as a board on a terminal, several as lines.

    Args:
        puzzles: see :func:`lines_of`.
        path: of the model; None: that of ``run``, a variant and a seed (see :func:`model_of`).
        test: the place of a test puzzle of the study, instead of ``puzzles``.
        watched: show both states after every update before the answer.

    Raises:
        UserError: no puzzle or a bad one was given, or the model is not of such boards.
    """
    if (test is None) == (not puzzles):
        raise UserError("give puzzles, or a test puzzle with --test, not both; see --help")
    params = load_params()
    kind = params.task(task_name).data
    path = path or model_of(params, task_name, *run)
    task, model = kind.task(), load_model(path)
    if (model.cells, model.vocabulary) != (task.cells, len(task.vocabulary)):
        raise UserError(
            f"{path}: solves boards of {model.cells} cells with {model.vocabulary} tokens, but "
            f"params.yaml describes {task_name} boards of {task.rows} x {task.columns} with "
            f"{len(task.vocabulary)}"
        )
    if test is not None:
        questions = _of_the_test_set(task, test)
    else:
        questions = parse(kind, list(lines_of(puzzles)))
    console = Console(highlight=False)
    if watched:
        for question in questions:
            watch(model, task, question, console)
    as_boards = len(questions) == 1 and (console.is_terminal or watched)
    for solved in solve(model, kind, questions):
        if as_boards:
            show(task, solved, console)
        else:
            print(as_line(task, solved))


def model_of(params: Params, task: str, variant: str, seed: int) -> Path:
    """The study's trained model or, without one, that of the same run that the project ships."""
    path = paths.run(task, variant, seed) / "model.safetensors"
    shipped = paths.shipped(params.preset, task, variant)
    if there(path) or not _is_file(str(shipped)) or load_model(shipped).origin["seed"] != seed:
        return path
    log.info("%s not found; using %s, which ships with the project", path, shipped)
    return shipped


def _of_the_test_set(task: Task, number: int) -> np.ndarray:
    path = paths.data(task.name, "test")
    puzzles = load_puzzles(path)
    if puzzles.task.spec() != task.spec():
        raise UserError(
            f"{path}: holds {puzzles.task.name} boards of {puzzles.task.rows} x "
            f"{puzzles.task.columns}, but params.yaml describes {task.name} boards of {task.rows} "
            f"x {task.columns}; make it again: air data {task.name}"
        )
    if not 0 <= number < len(puzzles):
        raise UserError(f"--test {number}: {path} holds puzzles 0 to {len(puzzles) - 1}")
    return np.asarray(puzzles.inputs[number : number + 1])


def lines_of(puzzles: list[str]) -> Iterator[tuple[str, str]]:
    """(where it stands, the puzzle) for every puzzle: an argument, a line of a file or of ``-``.

    Raises:
        UserError: a file cannot be read.
    """
    for number, given in enumerate(puzzles, start=1):
        if given == "-":
            yield from _lines("standard input", _standard_input())
        elif _is_file(given):
            with reading(Path(given), "a text file", UnicodeDecodeError, remedy="give another"):
                yield from _lines(given, Path(given).read_text(encoding="utf-8-sig"))
        else:
            yield f"puzzle {number} (no file has that name)", given


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("standard input: is not text in UTF-8; give puzzles, one a line") from None


def _is_file(name: str) -> bool:
    try:
        return Path(name).is_file()
    except (OSError, ValueError):  # a puzzle need not be a possible name
        return False


def _lines(where: str, text: str) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            yield f"{where}, line {number}", line.strip("\r\n")


def parse(kind: Data, puzzles: list[tuple[str, str]]) -> np.ndarray:
    """The boards of puzzles as text, uint8 ``[B, S]``.

    Raises:
        UserError: one is of another size, has an invalid character, or (where that can be
            known) has no solution or several.
    """
    task = kind.task()
    tokens = symbols_of(kind, task)
    boards = np.zeros((len(puzzles), task.cells), dtype=np.uint8)
    for row, (where, text) in enumerate(puzzles):
        if len(text) != task.cells:
            raise UserError(
                f"{where}: has {len(text)} characters, but a board of {task.rows} x {task.columns} "
                f"has {task.cells}"
            )
        codes = np.frombuffer(text.encode("latin-1", errors="replace"), dtype=np.uint8)
        boards[row] = tokens[codes]
        if not boards[row].all():
            place = int(np.argmin(boards[row]))
            allowed = "".join(chr(code) for code in np.flatnonzero(tokens))
            raise UserError(
                f"{where}: {text[place]!r} at place {place + 1} is not a valid character; "
                f"allowed are {allowed!r}"
            )
    faults = kind.solve(boards)[1] if kind.solvable else kind.faults(boards, boards)
    for (where, _), fault in zip(puzzles, faults, strict=True):
        if fault.startswith("the question"):
            raise UserError(f"{where}: {fault}")
    return boards


def solve(model: AIR, kind: Data, questions: np.ndarray) -> Iterator[Solved]:
    """Answers to boards uint8 ``[B, S]``, in order; all segments are run, as in evaluation."""
    if not len(questions):
        return
    puzzles = Puzzles(kind.task(), questions, labels=questions, seed=0)  # no answer is known
    start = 0
    for found in predict(model, puzzles, BATCH, CPU, silent=True):
        inputs = questions[start : start + len(found.board)]
        start += len(inputs)
        faults = kind.faults(inputs, found.board)
        yield from map(Solved, inputs, found.board, faults, found.segments.tolist())


def as_line(task: Task, solved: Solved) -> str:
    """The answer, whether it is right, and the segments used, separated by tabs."""
    answer = "".join(task.vocabulary[token] for token in solved.board)
    verdict = f"wrong: {solved.fault}" if solved.fault else "right"
    return f"{answer}\t{verdict}\t{solved.halted}"


def draw(
    task: Task, board: np.ndarray, question: np.ndarray, bad: np.ndarray, changed: np.ndarray
) -> Text:
    """A board ``[S]`` in colour: givens bold, ``bad`` cells red, ``changed`` ones inverse."""
    look, text = task.look(), Text()
    box_rows, box_columns = look["box"] or (task.rows, task.columns)
    rule = "+".join("-" * (2 * box_columns + 1) for _ in range(task.columns // box_columns))
    for cell, token in enumerate(board.tolist()):
        row, column = divmod(cell, task.columns)
        if column == 0 and row and row % box_rows == 0:
            text.append(f"{rule[1:]}\n")
        elif column and column % box_columns == 0:
            text.append("| ")
        style = GIVEN if token == question[cell] != task.undecided_token else Style()
        if token == task.undecided_token:
            style += OPEN
        if fill := look["fills"][token]:
            style += Style(bgcolor=fill)
        style += WRONG if bad[cell] else Style()
        style += CHANGED if changed[cell] else Style()
        symbol = "." if token == task.undecided_token else task.vocabulary[token]
        text.append(f"{symbol} " if look["box"] else symbol * 2, style)
        if column == task.columns - 1:
            text.append("\n")
    return text


def show(task: Task, solved: Solved, console: Console) -> None:
    """One answer as a board, with what is wrong with it."""
    bad = task.violations(solved.board[None], solved.board[None])[0]
    console.print(draw(task, solved.board, solved.question, bad, np.zeros_like(bad)))
    verdict = f"wrong: {solved.fault}" if solved.fault else "right"
    console.print(f"{verdict}; it would have halted after segment {solved.halted}", soft_wrap=True)


def watch(
    model: AIR, task: Task, question: np.ndarray, console: Console, seconds: float = 0.15
) -> None:
    """Both states' boards after every sub-step, one after another."""
    tokens = torch.from_numpy(question.astype(np.int64))[None]
    rollout = decoded_rollout(model, tokens, model.config.max_segments)
    boards = {level: shown[:, 0].numpy() for level, shown in rollout.items()}
    last = boards["H"][-1]
    updates = model.config.updates_per_segment
    with Live(console=console, auto_refresh=False, transient=False) as live:
        for step in range(len(boards["H"])):
            table = Table.grid(padding=(0, 4))
            table.add_row("z_L", "z_H")
            columns = []
            levels: tuple[Level, Level] = ("L", "H")
            for level in levels:
                board = boards[level][step]
                before = boards[level][max(step - 1, 0)]
                bad = task.violations(board[None], last[None])[0]
                columns.append(draw(task, board, question, bad, board != before))
            table.add_row(*columns)
            segment, update = divmod(step, updates)
            title = Text(
                f"segment {segment + 1} of {model.config.max_segments}, "
                f"update {update + 1} of {updates}"
            )
            frame = Group(title, table)
            if console.is_terminal:
                live.update(frame, refresh=True)
                time.sleep(seconds)
            else:
                console.print(frame)
