"""Public data sets: CSV files of their format, good and bad, from disk and from a hub."""

import contextlib
import gzip
import hashlib
import http.server
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from pydantic import TypeAdapter

from air.files import UserError
from air.reporting.pages import provenance
from air.sources.datasets import make
from air.sources.imports import COLUMNS, read_csv
from air.sources.maze import MazeCsv, MazeGenerated
from air.sources.sudoku import SudokuCsv, SudokuGenerated, SudokuHuggingFace
from air.tasks.sudoku import Sudoku
from air.tasks.task import Puzzles
from tests.conftest import ROOT

Rows = list[list[str]]
DOCS = (ROOT / "docs" / "data.md").read_text(encoding="utf-8")


def rows_of(puzzles: Puzzles) -> Rows:
    """Puzzles as the public files write them."""
    symbols = list(puzzles.task.vocabulary)
    if isinstance(puzzles.task, Sudoku):
        symbols[1] = "."
    return [
        ["made", *("".join(symbols[token] for token in board) for board in pair), str(place)]
        for place, pair in enumerate(zip(puzzles.inputs, puzzles.labels, strict=True))
    ]


def write(path: Path, rows: Rows) -> Path:
    path.write_text("".join(",".join(row) + "\n" for row in [COLUMNS, *rows]), encoding="utf-8")
    return path


FILES_OF = {"source": "csv", "train": 1, "test": None, "train_path": "", "test_path": ""}
SUDOKUS = SudokuCsv(box=[3, 3], **FILES_OF)  # type: ignore[arg-type]


def mazes(size: int) -> MazeCsv:
    return MazeCsv(size=size, **FILES_OF)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def sudoku_rows() -> Rows:
    config = SudokuGenerated(source="generate", box=[3, 3], clues=30, train=30, test=1)
    return rows_of(make(config)[0])


@pytest.fixture(scope="module")
def maze_rows() -> Rows:
    config = MazeGenerated(source="generate", size=8, walls=0.3, min_path=9, train=30, test=1)
    return rows_of(make(config)[0])


def test_sudokus_are_imported(tmp_path: Path, sudoku_rows: Rows) -> None:
    paths = [write(tmp_path / f"{name}.csv", sudoku_rows) for name in ("train", "test")]
    config = SudokuCsv(
        source="csv", box=[3, 3], train=12, test=None,
        train_path=str(paths[0]), test_path=str(paths[1]),
    )  # fmt: skip
    train, test, found = make(config)
    statistics = found.content()
    assert (len(train), len(test)) == (12, 30)
    assert rows_of(test)[4][1:3] == sudoku_rows[4][1:3]
    drawn = {row[1] for row in rows_of(train)}
    assert drawn < {row[1] for row in sudoku_rows}
    assert statistics["test_puzzles_in_train_up_to_symmetry"] == 12  # the same file twice
    assert statistics["splits"]["test"]["traits"]["rating"]["max"] == 29
    counts = statistics["files"]["train"]
    assert counts["sha256"] == hashlib.sha256(paths[0].read_bytes()).hexdigest()
    assert (counts["rows"], counts["skipped_rows"]) == (30, {})
    again = make(config)[0]
    assert np.array_equal(again.inputs, train.inputs)
    other = make(config.model_copy(update={"seed": 1}))[0]
    assert not np.array_equal(other.inputs, train.inputs)


def test_mazes_are_imported(tmp_path: Path, maze_rows: Rows) -> None:
    path = write(tmp_path / "mazes.csv", maze_rows)
    config = MazeCsv(
        source="csv", size=8, train=30, test=10, train_path=str(path), test_path=str(path)
    )
    train, _, found = make(config)
    statistics = found.content()
    assert [row[1:3] for row in rows_of(train)] == [row[1:3] for row in maze_rows]
    assert statistics["splits"]["train"]["traits"]["path cells"]["min"] >= 9


def test_leaks_are_seen_through_symmetry(tmp_path: Path, sudoku_rows: Rows) -> None:
    """A test set of relabelled, transposed training puzzles is counted as what it is."""
    exchange = str.maketrans("123456789", "246813579")

    def transposed(text: str) -> str:
        board = np.array(list(text)).reshape(9, 9)
        return "".join(board.T.reshape(-1)).translate(exchange)

    moved = [[row[0], transposed(row[1]), transposed(row[2]), row[3]] for row in sudoku_rows[:7]]
    config = SudokuCsv(
        source="csv", box=[3, 3], train=20, test=7,
        train_path=str(write(tmp_path / "a.csv", sudoku_rows[:20])),
        test_path=str(write(tmp_path / "b.csv", moved)),
    )  # fmt: skip
    assert make(config)[2].test_puzzles_in_train_up_to_symmetry == 7


def put(row: list[str], column: int, place: int, symbol: str) -> list[str]:
    """The row with another symbol at a place of its question (1) or answer (2)."""
    text = row[column]
    return [*row[:column], text[:place] + symbol + text[place + 1 :], *row[column + 1 :]]


def other_digit(row: list[str], given: bool) -> list[str]:
    """The answer with a wrong digit at a given or a blank cell."""
    place = next(i for i, symbol in enumerate(row[1]) if (symbol != ".") == given)
    return put(row, 2, place, "1" if row[2][place] != "1" else "2")


BAD_SUDOKUS: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "a column less": (lambda row: row[:3], "wrong number of columns"),
    "a column more": (lambda row: [*row, "x"], "wrong number of columns"),
    "a short question": (
        lambda row: [row[0], row[1][1:], *row[2:]], "wrong length of the question",
    ),
    "a long answer": (lambda row: [*row[:2], row[2] + "1", row[3]], "wrong length of the answer"),
    "an empty line's fields": (lambda row: ["", "", "", ""], "wrong length of the question"),
    "a letter": (lambda row: put(row, 1, 3, "x"), "wrong character in the question"),
    "a digit beyond ASCII": (
        lambda row: put(row, 2, 5, "\u0665"), "wrong character in the answer",
    ),
    "a blank in the answer": (lambda row: put(row, 2, 9, "."), "the answer has blank cells"),
    "a zero in the answer": (lambda row: put(row, 2, 9, "0"), "the answer has blank cells"),
    "a wrong digit": (lambda row: other_digit(row, False), "the answer is no solution"),
    "a changed given": (
        lambda row: [*row[:2], row[2].translate(str.maketrans("12", "21")), row[3]],
        "the answer changes a given",
    ),
    "a rating in words": (lambda row: [*row[:3], "hard"], "wrong rating"),
    "a negative rating": (lambda row: [*row[:3], "-1"], "wrong rating"),
}  # fmt: skip
BAD_MAZES: dict[str, tuple[Callable[[list[str]], list[str]], str]] = {
    "no start": (lambda row: [row[0], row[1].replace("S", " "), *row[2:]], "one start cell"),
    "two goals": (lambda row: put(row, 1, row[1].index(" "), "G"), "one goal cell"),
    "path cells in the question": (
        lambda row: put(row, 1, row[1].index(" "), "o"), "the question has path cells",
    ),
    "a gap in the path": (lambda row: put(row, 2, row[2].index("o"), " "), "does not lead"),
    "a cell too many": (lambda row: put(row, 2, row[2].index(" "), "o"), "the path in the answer"),
    "a wall removed": (lambda row: put(row, 2, row[2].index("#"), " "), "changes more than free"),
}  # fmt: skip
BAD = [
    *(pytest.param("sudoku", *bad, id=name) for name, bad in BAD_SUDOKUS.items()),
    *(pytest.param("maze", *bad, id=name) for name, bad in BAD_MAZES.items()),
]


@pytest.mark.parametrize(("name", "spoil", "message"), BAD)
def test_a_bad_row_is_named_or_skipped(
    name: str,
    spoil: Callable[[list[str]], list[str]],
    message: str,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    good = request.getfixturevalue(f"{name}_rows")
    task = SUDOKUS if name == "sudoku" else mazes(8)
    path = write(tmp_path / "bad.csv", [*good[:6], spoil(good[6]), *good[7:]])
    with pytest.raises(UserError) as caught:
        read_csv(task, path, 10, seed=0, skip=False)
    said = str(caught.value)
    assert said.startswith(f"{path}, line 8: "), said  # the header is line 1
    assert message in said
    assert "\n" not in said
    assert message in DOCS
    split = read_csv(task, path, None, seed=0, skip=True)
    assert len(split.inputs) == len(good) - 1
    assert sum(split.facts.skipped_rows.values()) == 1


def test_a_detour_is_no_shortest_path(tmp_path: Path) -> None:
    direct = ["made", "S       G", "Soo  o  G", "1"]
    assert len(read_csv(mazes(3), write(tmp_path / "a.csv", [direct]), None, 0, False).inputs) == 1
    detour = ["made", "S G      ", "S Go oooo", "1"]
    with pytest.raises(UserError, match="not a shortest one: 7 cells, not 3"):
        read_csv(mazes(3), write(tmp_path / "b.csv", [detour]), None, 0, False)
    assert "the path in the answer is not a shortest one" in DOCS


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the columns must be"),
    "other columns": (b"question;answer\n1;2\n", "the columns must be"),
    "a column twice": (b"question,puzzle,answer\n1,2,3\n", "the columns must be"),
    "not all of a packed file": (gzip.compress(b"question,answer\n")[:-4], "not a whole gzip file"),
    "a packed file, damaged": (
        gzip.compress(b"question,answer\n" * 9)[:12] + b"\xff" * 30, "not a whole gzip file",
    ),
    "no rows": (b"source,question,answer,rating\n", "but 5 are needed"),
    "binary": (b"source,question,answer,rating\n\xff\xfe\x00x,1,2,3\n", "not a UTF-8 text file"),
    "an endless field": (
        b"source,question,answer,rating\n" + b'"' + b"1" * 200_000, "not CSV",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("content", "message"), FILES.values(), ids=FILES)
def test_a_bad_file_is_refused_by_name(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(UserError, match=message) as caught:
        read_csv(SUDOKUS, path, 5, 0, True)
    assert str(path) in str(caught.value)
    assert message in DOCS


def as_text(rows: Rows, form: str) -> tuple[str, bytes]:
    """The name and bytes of a file with the questions and answers of ``rows`` in another form."""
    pairs = [(question, answer) for _, question, answer, _ in rows]
    zeros = [(question.replace(".", "0"), answer) for question, answer in pairs]

    def table(
        header: str, rows: Sequence[tuple[str, ...]], end: str = "\n", quote: str = ""
    ) -> bytes:
        lines = [",".join(f"{quote}{field}{quote}" for field in row) for row in rows]
        return end.join([header, *lines, ""]).encode()

    plain = table("puzzle,solution", pairs)
    return {
        "puzzle, solution": ("a.csv", plain),
        "quizzes, solutions": ("a.csv", table("quizzes,solutions", zeros)),
        "question, answer": ("a.csv", table("question,answer", pairs)),
        "zeros and dots": ("a.csv", table("puzzle,solution", [*pairs[:5], *zeros[5:]])),
        "CRLF": ("a.csv", table("quizzes,solutions", zeros, "\r\n")),
        "a byte-order mark": ("a.csv", b"\xef\xbb\xbf" + plain),
        "quoted": ("a.csv", table('"puzzle","solution"', pairs, quote='"')),
        "capitals and spaces": ("a.csv", table("Puzzle, Solution", pairs)),
        "another order, more columns": (
            "a.csv",
            table("id,answer,clues,question", [("7", a, "30", q) for q, a in pairs]),
        ),
        "packed": ("a.csv.gz", gzip.compress(plain)),
        "lines": ("a.txt", "".join(question + "\n" for question, _ in pairs).encode()),
        "lines, zeros, CRLF, no last end": (
            "a.txt",
            b"\xef\xbb\xbf" + "\r\n".join(question for question, _ in zeros).encode(),
        ),
        "packed lines": (
            "a.txt.gz",
            gzip.compress("".join(question + "\n" for question, _ in pairs).encode()),
        ),
        "questions under a header": ("a.csv", table("puzzle", [(q,) for q, _ in pairs])),
    }[form]


FORMS = {
    "puzzle, solution": "question: puzzle, answer: solution, rating: none",
    "quizzes, solutions": "question: quizzes, answer: solutions, rating: none",
    "question, answer": "question: question, answer: answer, rating: none",
    "zeros and dots": "question: puzzle",
    "CRLF": "question: quizzes",
    "a byte-order mark": "question: puzzle",
    "quoted": "question: puzzle",
    "capitals and spaces": "question: Puzzle",
    "another order, more columns": "question: question, answer: answer, rating: none; "
    "not used: id, clues",
    "packed": "question: puzzle, answer: solution, rating: none",
    "lines": "no header, a question a line; answers are found here",
    "lines, zeros, CRLF, no last end": "no header, a question a line; answers are found here",
    "packed lines": "no header, a question a line; answers are found here",
    "questions under a header": "question: puzzle, answer: found here, rating: none",
}


@pytest.mark.parametrize("form", FORMS)
def test_files_as_people_have_them(
    form: str, tmp_path: Path, sudoku_rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "air")
    name, content = as_text(sudoku_rows, form)
    path = tmp_path / name
    path.write_bytes(content)
    split = read_csv(SUDOKUS, path, None, 0, skip=False)
    expected = read_csv(SUDOKUS, write(tmp_path / "plain.csv", sudoku_rows), None, 0, skip=False)
    assert np.array_equal(split.inputs, expected.inputs)
    assert np.array_equal(split.labels, expected.labels)
    assert split.ratings is None
    assert split.facts.sha256 == hashlib.sha256(content).hexdigest()
    said = caplog.messages
    assert [line for line in said if FORMS[form] in line] == said[:1]
    assert said[0].startswith(f"data sudoku: {name}: ")


def test_mazes_need_their_answers(tmp_path: Path, maze_rows: Rows) -> None:
    path = tmp_path / "mazes.csv"
    path.write_text("".join(f"{row[1]},{row[2]}\n" for row in [COLUMNS, *maze_rows]))
    assert len(read_csv(mazes(8), path, None, 0, False).inputs) == len(maze_rows)
    for lines in (["question"], []):
        path.write_text("".join(line + "\n" for line in [*lines, *(row[1] for row in maze_rows)]))
        with pytest.raises(UserError, match="the columns must be") as caught:
            read_csv(mazes(8), path, None, 0, False)
        assert "without a header" not in str(caught.value)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda question: "." * 81, "the question has several solutions"),
        (lambda question: "11" + question[2:], "the question has no solution"),
        (lambda question: question[:80], "wrong length of the question"),
        (lambda question: "x" + question[1:], "wrong character in the question"),
    ],
)
def test_a_question_without_one_solution_is_named_or_skipped(
    spoil: Callable[[str], str], message: str, tmp_path: Path, sudoku_rows: Rows
) -> None:
    path = tmp_path / "hard.txt"
    questions = [row[1] for row in sudoku_rows]
    path.write_text("\n".join([*questions[:6], spoil(questions[6]), *questions[7:]]))
    with pytest.raises(UserError, match=f"line 7: {message}"):
        read_csv(SUDOKUS, path, None, 0, False)
    assert message in DOCS
    split = read_csv(SUDOKUS, path, None, 0, True)
    assert (len(split.inputs), split.facts.skipped_rows) == (29, {message: 1})


def test_a_header_that_is_not_known_is_shown_with_those_that_are(tmp_path: Path) -> None:
    path = tmp_path / "bad.csv"
    path.write_text("Rätsel;Lösung\n")
    with pytest.raises(UserError) as caught:
        read_csv(SUDOKUS, path, None, 0, False)
    said = str(caught.value)
    assert said.startswith(f"{path}, line 1: the columns must be question and answer")
    for known in ("puzzle and solution", "quizzes and solutions", "81 characters"):
        assert known in said
    assert said.endswith("found: Rätsel;Lösung")


def test_ratings_of_one_file_only_are_left_out(tmp_path: Path, sudoku_rows: Rows) -> None:
    """A report compares the traits of both splits."""
    name, content = as_text(sudoku_rows, "puzzle, solution")
    (tmp_path / name).write_bytes(content)
    config = SudokuCsv(
        source="csv", box=[3, 3], train=12, test=None, test_path=str(tmp_path / name),
        train_path=str(write(tmp_path / "rated.csv", sudoku_rows)),
    )  # fmt: skip
    splits = make(config)[2].splits
    assert splits.train.traits.keys() == splits.test.traits.keys() == {"clues"}


def rated(path: Path, value: Any, **others: Any) -> SudokuCsv:
    files = {"train_path": str(path), "test_path": str(path)}
    found: Any = TypeAdapter(SudokuCsv).validate_python(
        {**FILES_OF, "box": [3, 3], **files, "min_difficulty": value, **others}
    )
    return found


@pytest.mark.parametrize(
    ("value", "least", "greatest"),
    [(20, 20, 29), ([20, None], 20, 29), ([5, 9], 5, 9), ([0, None], 0, 29), ([7, 7], 7, 7)],
)
def test_puzzles_are_chosen_by_their_rating(
    value: Any,
    least: int,
    greatest: int,
    tmp_path: Path,
    sudoku_rows: Rows,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("air.sources.imports.BLOCK", 4)  # the range holds in every block
    path = write(tmp_path / "rated.csv", sudoku_rows)  # rated 0 to 29
    train, test, statistics = make(rated(path, value))
    number = greatest - least + 1
    assert [row[1] for row in rows_of(test)] == [
        row[1] for row in sudoku_rows[least : greatest + 1]
    ]
    assert rows_of(train)[0][1] in {row[1] for row in sudoku_rows[least : greatest + 1]}
    trait = statistics.splits.test.traits["rating"]
    assert (trait.min, trait.max) == (least, greatest)
    assert statistics.files
    for split in ("train", "test"):
        assert statistics.files.of(split).rows == 30
        assert statistics.files.of(split).outside_min_difficulty == 30 - number
    with pytest.raises(UserError, match=rf"holds {number} puzzles of a rating in \[{least}, "):
        make(rated(path, value, train=number + 1))


def test_a_rating_is_asked_of_rated_puzzles_only(tmp_path: Path, sudoku_rows: Rows) -> None:
    name, content = as_text(sudoku_rows, "lines")
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name}: has no rating column"):
        make(rated(tmp_path / name, 15))
    assert "has no rating column" in DOCS
    # rows of another rating are checked as well
    spoilt = [*sudoku_rows[:3], other_digit(sudoku_rows[3], False), *sudoku_rows[4:]]
    with pytest.raises(UserError, match="line 5: the answer is no solution"):
        make(rated(write(tmp_path / "bad.csv", spoilt), 15))


@pytest.mark.parametrize("value", [[9, 5], [None, 5], [-1, None], -1, [1], [1, 2, 3], "15", True])
def test_a_range_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match="min_difficulty"):
        rated(Path("a.csv"), value)


def test_missing_files_and_rows_are_told(tmp_path: Path, sudoku_rows: Rows) -> None:
    with pytest.raises(UserError, match=r"none\.csv: there is no such file"):
        read_csv(SUDOKUS, tmp_path / "none.csv", 5, 0, False)
    with pytest.raises(UserError, match="cannot be read"):
        read_csv(SUDOKUS, tmp_path, 5, 0, False)
    path = write(tmp_path / "few.csv", sudoku_rows)
    with pytest.raises(UserError, match="holds 30 puzzles, but 31 are needed"):
        read_csv(SUDOKUS, path, 31, 0, False)


REVISION, LATER = "0123456789abcdef0123456789abcdef01234567", "89abcdef" * 5


class Hub:  # tests/test_hub_checkpoints.py has one of models
    """What the hub at ``address`` knows of the data set made/sudoku; tests change it."""

    def __init__(self) -> None:
        self.address = ""
        self.commits: dict[str, bytes] = {}  # both files of a commit
        self.refs: dict[str, str] = {}  # commits by branch and tag
        self.cut = 0  # files are cut short after so many bytes

    def answer(self, path: str, begin: int) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a file, from a byte on."""
        found = re.fullmatch(r"/datasets/made/sudoku/resolve/([^/]+)/(train|test)\.csv", path)
        if not found:
            known = path.startswith("/datasets/made/sudoku/")
            return 404, {"X-Error-Code": "EntryNotFound" if known else "RepoNotFound"}, b""
        name = unquote(found[1])
        commit = self.refs.get(name, name)
        if commit not in self.commits:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        content = self.commits[commit]
        headers = {"X-Repo-Commit": commit, "ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if begin:
            size = len(content)
            headers["Content-Range"] = f"bytes {begin}-{size - 1}/{size}"
        return 206 if begin else 200, headers, content[begin:]


@pytest.fixture
def hub(tmp_path: Path, sudoku_rows: Rows) -> Iterator[Hub]:
    """A server on this machine that answers as the hub does."""
    pytest.importorskip("huggingface_hub")
    state = Hub()
    for commit, rows in ((REVISION, sudoku_rows), (LATER, sudoku_rows[:20])):
        state.commits[commit] = write(tmp_path / "served.csv", rows).read_bytes()
    state.refs = {"main": REVISION, "refs/pr/1": LATER, "v1.0": REVISION}
    with serving(state):
        yield state


@contextlib.contextmanager
def serving(state: Hub) -> Iterator[None]:
    """A server on this machine that gives the answers of ``state``."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.respond(False)

        def do_GET(self) -> None:
            self.respond(True)

        def respond(self, with_body: bool) -> None:
            begin = re.match(r"bytes=(\d+)-", self.headers.get("Range", ""))
            status, headers, body = state.answer(self.path, int(begin[1]) if begin else 0)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if with_body:
                self.wfile.write(body[: state.cut or None])
            self.close_connection = True

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state.address = f"http://127.0.0.1:{server.server_port}"
    yield
    server.shutdown()


NOWHERE = "http://127.0.0.1:9"  # no server is there
IMPORT = """
import sys, time
from air.files import UserError
from air.sources.datasets import make
from air.sources.sudoku import SudokuHuggingFace
config = SudokuHuggingFace(source="huggingface", box=[3, 3], train=10, test=None,
                           repo=sys.argv[1], revision=sys.argv[2])
time.sleep = lambda seconds: None  # what is tried again is tried at once
try:
    train, test, statistics = make(config)
    print(len(train), len(test), statistics.revision)
except UserError as error:
    print("refused:", error)
"""


def run(
    address: str, home: Path, *command: str, offline: bool = False, folder: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    """Run Python on ``command`` with the hub at ``address`` and a cache of its own."""
    environment = {
        "HF_ENDPOINT": address,
        "HF_HOME": str(home),
        "HF_HUB_OFFLINE": str(int(offline)),
    }
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), **environment},
        cwd=folder,
    )


def imported(
    address: str, home: Path, repo: str = "made/sudoku", revision: str = REVISION, **how: bool
) -> str:
    """What an import says."""
    ended = run(address, home, "-c", IMPORT, repo, revision, **how)  # type: ignore[arg-type]
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_hub_is_read_at_its_pinned_revision(hub: Hub, tmp_path: Path) -> None:
    home = tmp_path / "home"
    assert imported(hub.address, home) == f"10 30 {REVISION}"
    # what was downloaded stays: without a network it is there
    assert imported(NOWHERE, home) == f"10 30 {REVISION}"


@pytest.mark.parametrize(
    ("name", "expected"),
    [("main", f"10 30 {REVISION}"), ("v1.0", f"10 30 {REVISION}"), ("refs/pr/1", f"10 20 {LATER}")],
)
def test_a_branch_or_tag_is_resolved_to_its_commit(
    hub: Hub, tmp_path: Path, name: str, expected: str
) -> None:
    assert imported(hub.address, tmp_path / "home", revision=name) == expected


@pytest.mark.parametrize(
    ("repo", "revision", "address", "offline", "why"),
    [
        ("made/other", REVISION, "", False, "no such data set"),
        ("made/other", "main", "", False, "no such data set"),
        ("made/sudoku", "absent", "", False, "no such branch, tag or commit"),
        ("made/sudoku", "f" * 40, "", False, "no such branch, tag or commit"),
        ("made/sudoku", REVISION, NOWHERE, False, "no network"),
        ("made/sudoku", "main", NOWHERE, False, "no network"),
        ("made/sudoku", REVISION, "", True, "no network"),
        ("made/sudoku", "main", "", True, "no network"),
    ],
)
def test_without_the_hub_one_sentence_says_what_to_set(
    hub: Hub, tmp_path: Path, repo: str, revision: str, address: str, offline: bool, why: str
) -> None:
    said = imported(address or hub.address, tmp_path / "empty", repo, revision, offline=offline)
    shown = revision[:12] if len(revision) == 40 else revision
    assert said.startswith(f"refused: {repo}: cannot get train.csv at revision {shown} (")
    assert why in said
    assert "set data.source to csv" in said
    assert "\n" not in said


def test_a_download_cut_short_is_refused_and_taken_up_again(hub: Hub, tmp_path: Path) -> None:
    home, hub.cut = tmp_path / "home", 700
    said = imported(hub.address, home, revision="main")
    assert said.startswith("refused: made/sudoku: cannot get train.csv at revision 0123456789ab (")
    assert "\n" not in said
    assert not list(home.rglob("train.csv"))
    hub.cut = 0
    assert imported(hub.address, home, revision="main") == f"10 30 {REVISION}"


def smoke_from_the_hub(revision: str = "main", train: int = 10) -> str:
    """The smoke preset with the hub's Sudokus."""
    text = (ROOT / "presets/smoke.yaml").read_text(encoding="utf-8")
    before, after = text.split("  model:\n", 1)
    source = (
        f"    source: huggingface\n    repo: made/sudoku\n    revision: {revision}\n"
        f"    box: [3, 3]\n    train: {train}\n    test: null\n"
    )
    return f"{before[: before.index('    source:')]}{source}  model:\n{after}"


def test_a_branch_that_has_moved_is_asked_again_only_by_force(hub: Hub, tmp_path: Path) -> None:
    """The stage as DVC runs it, which deletes the outputs before."""

    def made(revision: str = "main", train: int = 10, address: str = hub.address) -> dict[str, Any]:
        (tmp_path / "params.yaml").write_text(smoke_from_the_hub(revision, train))
        shutil.rmtree(tmp_path / "data", ignore_errors=True)
        command = ("-m", "air.cli", "data", "sudoku")
        ended = run(address, tmp_path / "home", *command, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
        found: dict[str, Any] = json.loads((tmp_path / "data/sudoku/statistics.json").read_text())
        return found

    first = made()
    assert first["revision"] == REVISION
    hub.refs["main"] = LATER
    again = made(train=12)
    assert (again["revision"], again["splits"]["test"]["puzzles"]) == (REVISION, 30)
    assert made(address=NOWHERE) == first  # nothing is asked for
    assert made("v1.0")["revision"] == REVISION  # another name is asked for
    assert made("refs/pr/1")["revision"] == LATER
    assert made(REVISION) == first  # pinned: the same bytes
    (tmp_path / ".resume/revision-sudoku.json").unlink()
    assert made()["revision"] == LATER
    (tmp_path / ".resume/revision-sudoku.json").write_text('{"repo": "made/sudoku"}')
    with pytest.raises(AssertionError, match=r"revision-sudoku\.json: .*delete it and run again"):
        made()


def test_pages_name_the_commit_that_the_data_were_read_at(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "params.yaml").write_text(smoke_from_the_hub())
    (tmp_path / "reports").mkdir()
    shutil.copy(ROOT / "reports/paper.yaml", tmp_path / "reports")
    for command in (["check"], ["data", "sudoku"], ["data", "maze"]):
        ended = run(hub.address, tmp_path / "home", "-m", "air.cli", *command, folder=tmp_path)
        assert ended.returncode == 0, ended.stderr
    monkeypatch.chdir(tmp_path)
    sudoku, maze = (f"{task} train X, {task} test X" for task in ("sudoku", "maze"))
    shown = re.sub(r"\b(train|test) [0-9a-f]{8}\b", r"\1 X", provenance()["data"])
    # the mazes are generated
    assert shown == f"{sudoku}, sudoku from made/sudoku@<wbr>{REVISION}, {maze}"


@pytest.mark.parametrize("revision", ["", "a b", "-x", "main\n", "x" * 201])
def test_a_revision_is_a_commit_branch_or_tag(revision: str) -> None:
    with pytest.raises(ValueError, match="revision"):
        SudokuHuggingFace(
            source="huggingface", box=[3, 3], train=1, test=1, repo="a/b", revision=revision
        )
