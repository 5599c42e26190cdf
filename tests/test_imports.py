"""Public data sets: CSV files of their format, good and bad, from disk and from a hub."""

import hashlib
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from air.files import UserError
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
    train, test, statistics = make(config)
    assert (len(train), len(test)) == (12, 30)
    assert rows_of(test)[4][1:3] == sudoku_rows[4][1:3]
    drawn = {row[1] for row in rows_of(train)}
    assert drawn < {row[1] for row in sudoku_rows}
    assert statistics["test_puzzles_in_train_up_to_symmetry"] == 12  # the same file twice
    assert statistics["splits"]["test"]["traits"]["rating"]["max"] == 29
    told = statistics["files"]["train"]
    assert told["sha256"] == hashlib.sha256(paths[0].read_bytes()).hexdigest()
    assert (told["rows"], told["skipped_rows"]) == (30, {})
    again = make(config)[0]
    assert np.array_equal(again.inputs, train.inputs)
    other = make(config.model_copy(update={"seed": 1}))[0]
    assert not np.array_equal(other.inputs, train.inputs)


def test_mazes_are_imported(tmp_path: Path, maze_rows: Rows) -> None:
    path = write(tmp_path / "mazes.csv", maze_rows)
    config = MazeCsv(
        source="csv", size=8, train=30, test=10, train_path=str(path), test_path=str(path)
    )
    train, _, statistics = make(config)
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
    assert make(config)[2]["test_puzzles_in_train_up_to_symmetry"] == 7


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
    "a zero for a blank": (lambda row: put(row, 1, 3, "0"), "wrong character in the question"),
    "a digit beyond ASCII": (
        lambda row: put(row, 2, 5, "\u0665"), "wrong character in the answer",
    ),
    "a blank in the answer": (lambda row: put(row, 2, 9, "."), "the answer has blank cells"),
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
    assert sum(split.told["skipped_rows"].values()) == 1


def test_a_detour_is_no_shortest_path(tmp_path: Path) -> None:
    direct = ["made", "S       G", "Soo  o  G", "1"]
    assert len(read_csv(mazes(3), write(tmp_path / "a.csv", [direct]), None, 0, False).inputs) == 1
    detour = ["made", "S G      ", "S Go oooo", "1"]
    with pytest.raises(UserError, match="not a shortest one: 7 cells, not 3"):
        read_csv(mazes(3), write(tmp_path / "b.csv", [detour]), None, 0, False)
    assert "the path in the answer is not a shortest one" in DOCS


FILES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "the columns must be"),
    "other columns": (b"question,answer\n1,2\n", "the columns must be"),
    "no rows": (b"source,question,answer,rating\n", "but 5 were asked for"),
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


def test_missing_files_and_rows_are_told(tmp_path: Path, sudoku_rows: Rows) -> None:
    with pytest.raises(UserError, match=r"none\.csv: there is no such file"):
        read_csv(SUDOKUS, tmp_path / "none.csv", 5, 0, False)
    with pytest.raises(UserError, match="cannot be read"):
        read_csv(SUDOKUS, tmp_path, 5, 0, False)
    path = write(tmp_path / "few.csv", sudoku_rows)
    with pytest.raises(UserError, match="holds 30 puzzles, but 31 were asked for"):
        read_csv(SUDOKUS, path, 31, 0, False)


REVISION = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def hub(tmp_path: Path, sudoku_rows: Rows) -> Iterator[str]:
    """A server on this machine that answers as the hub does; its address."""
    content = write(tmp_path / "served.csv", sudoku_rows).read_bytes()
    etag = hashlib.sha1(content).hexdigest()

    class Hub(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self.answer(b"")

        def do_GET(self) -> None:
            self.answer(content)

        def answer(self, body: bytes) -> None:
            known = self.path in {
                f"/datasets/made/sudoku/resolve/{REVISION}/{file}.csv" for file in ("train", "test")
            }
            self.send_response(200 if known else 404)
            if known:
                self.send_header("X-Repo-Commit", REVISION)
                self.send_header("ETag", f'"{etag}"')
            else:
                self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", str(len(content) if known else 0))
            self.end_headers()
            if known:
                self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


IMPORT = """
import sys
from air.files import UserError
from air.sources.datasets import make
from air.sources.sudoku import SudokuHuggingFace
config = SudokuHuggingFace(source="huggingface", box=[3, 3], train=10, test=None,
                           repo=sys.argv[1], revision=sys.argv[2])
try:
    train, test, told = make(config)
    print(len(train), len(test), told["revision"])
except UserError as error:
    print("refused:", error)
"""


def imported(address: str, home: Path, repo: str, offline: bool = False) -> str:
    """What an import from the hub at ``address`` says, in a process with a cache of its own."""
    ended = subprocess.run(
        [sys.executable, "-c", IMPORT, repo, REVISION],
        capture_output=True,
        text=True,
        env={
            **os.environ,
            "HF_ENDPOINT": address,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": str(int(offline)),
        },
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.strip()


def test_the_hub_is_read_at_its_pinned_revision(hub: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    home = tmp_path / "home"
    assert imported(hub, home, "made/sudoku") == f"10 30 {REVISION}"
    # what was downloaded stays: without a network it is there
    assert imported("http://127.0.0.1:9", home, "made/sudoku") == f"10 30 {REVISION}"


def test_without_the_hub_one_sentence_says_what_to_set(hub: str, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    for repo, offline in (("made/sudoku", True), ("made/other", False)):
        said = imported(hub, tmp_path / "empty", repo, offline)
        assert said.startswith(f"refused: {repo}: cannot get train.csv")
        assert "set data.source to csv" in said
        assert "\n" not in said


def test_a_revision_is_a_commit() -> None:
    with pytest.raises(ValueError, match="revision"):
        SudokuHuggingFace(
            source="huggingface", box=[3, 3], train=1, test=1, repo="a/b", revision="main"
        )
