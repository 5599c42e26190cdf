"""Importing puzzles from CSV files as the public data sets have them, or from lists of questions.

Files are read as a stream and checked in blocks, so memory does not grow with the file. Every row
is checked, also those that are not drawn.
"""

import csv
import gzip
import hashlib
import io
import logging
import os
import re
import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from air.files import UserError, reading
from air.hub import Repository
from air.progress import Progress
from air.results.statistics import File
from air.sources.config import Csv, Data, HuggingFace, Imported, checked_range
from air.tasks.sampling import mix
from air.tasks.task import Task

COLUMNS = ["source", "question", "answer", "rating"]  # of the paper's data sets
QUESTIONS = ("question", "puzzle", "quizzes")  # what the columns of public sets are called ...
ANSWERS = ("answer", "solution", "solutions")
RATINGS = ("rating",)
log = logging.getLogger(__name__)
BLOCK = 20_000  # rows checked at once
_NUMBER = re.compile(r"\d{1,15}(\.\d*)?", re.ASCII)


class Columns(NamedTuple):
    """Where a row has what. ``header`` is empty for a list of questions, one a line."""

    header: list[str]
    width: int
    question: int
    answer: int | None
    rating: int | None

    def __str__(self) -> str:
        if not self.header:
            return "no header, a question a line; answers are found here"
        answer = "found here" if self.answer is None else self.header[self.answer]
        rating = "none" if self.rating is None else self.header[self.rating]
        used = {self.question, self.answer, self.rating}
        rest = [name for place, name in enumerate(self.header) if place not in used]
        said = f"question: {self.header[self.question]}, answer: {answer}, rating: {rating}"
        said += f"; not used: {', '.join(rest)[:200]}" if rest else ""
        return "".join(character if character.isprintable() else " " for character in said)


class Split(NamedTuple):
    """Puzzles of a file: boards uint8 ``[N, S]``, ratings int64 ``[N]``, and what was read."""

    inputs: np.ndarray
    labels: np.ndarray
    ratings: np.ndarray | None
    facts: File


def import_splits(config: Csv | HuggingFace) -> tuple[Split, Split]:
    """The training puzzles (``config.train`` rows, drawn) and the test puzzles (drawn, or all).

    Raises:
        UserError: a file cannot be had, a row is no puzzle, or there are too few rows.
    """
    if isinstance(config, HuggingFace):
        train_path, test_path = (
            _repository(config).get(file) for file in (config.train_file, config.test_file)
        )
    else:
        train_path, test_path = (
            Path(os.path.expanduser(path))  # noqa: PTH111  # as it is without a home
            for path in (config.train_path, config.test_path)
        )
    skip = config.on_bad_row == "skip"
    return (
        read_csv(config, train_path, config.train, config.seed, skip),
        read_csv(config, test_path, config.test, config.seed, skip),
    )


INSTEAD = "set data.source to csv (files you have) or generate"


def resolved(config: HuggingFace) -> HuggingFace:
    """The same with the commit that its branch or tag stands for at this moment.

    Raises:
        UserError: the hub cannot be asked, or knows no such data set or revision.
    """
    if config.pinned:
        return config
    commit = _repository(config).resolved(config.train_file).revision
    log.info("data: %s: %s is commit %s", config.repo, config.revision, commit)
    return config.model_copy(update={"revision": commit})


def _repository(config: HuggingFace) -> Repository:
    return Repository(config.repo, config.revision, "dataset", INSTEAD)


def read_csv(kind: Imported, path: Path, wanted: int | None, seed: int, skip: bool) -> Split:
    """Check all rows of ``path`` and draw ``wanted`` of them (all if None), in the file's order.

    Which rows are drawn is a function of (seed, row): those whose keyed hash is least.

    Raises:
        UserError: the file is no such CSV, a row is no puzzle (unless ``skip``), or too few are.
    """
    task = kind.task()
    symbols = symbols_of(kind, task)
    columns = _columns(kind, task, symbols, path)
    least, greatest = _ratings_of(kind, columns, path)
    sample = _Sample(wanted, seed, task.cells)
    skipped: Counter[str] = Counter()
    rows = outside = 0
    digest = hashlib.sha256()
    log.info("data %s: %s: %s", task.name, path.name, columns)
    with Progress(f"data {task.name}: {path.name}", None, "rows") as progress:
        for lines, block in _blocks(path, digest, BLOCK, header=bool(columns.header)):
            faults, boards, rated = _checked(kind, task, symbols, columns, block)
            for line, fault in zip(lines, faults, strict=True):
                if fault and not skip:
                    raise UserError(
                        f"{path}, line {line}: {fault}; fix the row, or set on_bad_row: skip"
                    )
                if fault:
                    skipped[fault.split(":")[0]] += 1
            right = np.array([not fault for fault in faults])
            taken = right & (rated >= least) & (rated <= greatest)
            outside += int(right.sum() - taken.sum())
            good = np.flatnonzero(taken)
            sample.add(rows + good, boards[good], rated[good])
            rows += len(faults)
            progress.advance(len(faults))
    if sample.seen < (wanted or 1):
        of_rating = f" of a rating in {kind.min_difficulty}" if kind.min_difficulty else ""
        needed = wanted or "at least 1"
        raise UserError(f"{path}: holds {sample.seen} puzzles{of_rating}, but {needed} are needed")
    facts = File(
        file=path.name,
        sha256=digest.hexdigest(),
        rows=rows,
        skipped_rows=dict(sorted(skipped.items())),
        **({} if kind.min_difficulty is None else {"outside_min_difficulty": outside}),
    )
    boards, ratings = sample.in_order()
    return Split(
        boards[:, : task.cells],
        boards[:, task.cells :],
        None if columns.rating is None else ratings,
        facts,
    )


class _Sample:
    """``wanted`` of the rows that are added (all if None): those whose keyed hash is least."""

    def __init__(self, wanted: int | None, seed: int, cells: int) -> None:
        self.wanted, self.seen = wanted, 0
        self.key = mix(np.array([seed], dtype=np.uint64))
        self.hashes, self.rows = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)
        self.boards = np.empty((0, 2 * cells), dtype=np.uint8)
        self.ratings = np.empty(0, dtype=np.int64)

    def add(self, rows: np.ndarray, boards: np.ndarray, ratings: np.ndarray) -> None:
        self.seen += len(rows)
        self.hashes = np.concatenate([self.hashes, mix(self.key ^ rows.astype(np.uint64))])
        self.rows, self.ratings = np.append(self.rows, rows), np.append(self.ratings, ratings)
        self.boards = np.concatenate([self.boards, boards])
        if self.wanted is not None and len(self.hashes) > self.wanted:
            self._keep(np.argpartition(self.hashes, self.wanted - 1)[: self.wanted])

    def in_order(self) -> tuple[np.ndarray, np.ndarray]:
        """Boards and ratings, in the file's order."""
        self._keep(np.argsort(self.rows))
        return self.boards, self.ratings

    def _keep(self, chosen: np.ndarray) -> None:
        self.hashes, self.rows = self.hashes[chosen], self.rows[chosen]
        self.boards, self.ratings = self.boards[chosen], self.ratings[chosen]


def _ratings_of(kind: Imported, columns: Columns, path: Path) -> tuple[float, float]:
    """The least and the greatest rating that ``kind`` allows.

    Raises:
        UserError: it allows some alone, and the file has no ratings.
    """
    if kind.min_difficulty is None:
        return 0, np.inf
    if columns.rating is None:
        raise UserError(
            f"{path}: has no rating column, which min_difficulty needs; remove "
            f"{kind.task().name}.data.min_difficulty"
        )
    least, greatest = checked_range("min_difficulty", kind.min_difficulty)
    return least, np.inf if greatest is None else greatest


def _checked(
    kind: Imported, task: Task, symbols: np.ndarray, columns: Columns, block: list[list[str]]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """What is wrong with each row ("" if nothing), its board and answer, and its rating."""
    faults, boards, rated = _parse(task, symbols, columns, block)
    inputs, labels = boards[:, : task.cells], boards[:, task.cells :]
    readable = np.array([not fault for fault in faults])
    if columns.answer is None:
        labels[readable], found = kind.solve(inputs[readable])
    else:
        found = kind.faults(inputs[readable], labels[readable])
    for place, fault in zip(np.flatnonzero(readable), found, strict=True):
        faults[place] = fault
    return faults, boards, rated


def _columns(kind: Imported, task: Task, symbols: np.ndarray, path: Path) -> Columns:
    """The columns of a file, by its first row.

    Raises:
        UserError: they are none that are known.
    """
    _, block = next(_blocks(path, hashlib.sha256(), 1), ([], [[]]))
    header = block[0]
    if kind.solvable and len(header) == 1 and len(header[0]) == task.cells:
        line = header[0].encode("latin-1", errors="replace")
        if symbols[np.frombuffer(line, dtype=np.uint8)].all():
            return Columns([], 1, 0, None, None)
    names = [name.strip().lower() for name in header]
    places = [
        [place for place, name in enumerate(names) if name in known]
        for known in (QUESTIONS, ANSWERS, RATINGS)
    ]
    question, answer, rating = (found[0] if found else None for found in places)
    unclear = any(len(found) > 1 for found in places)
    if unclear or question is None or (answer is None and not kind.solvable):
        pairs = ", or ".join(map(" and ".join, zip(QUESTIONS, ANSWERS, strict=True)))
        alone = f", or without a header a question of {task.cells} characters a line"
        raise UserError(
            f"{path}, line 1: the columns must be {pairs}, each once, and rating if there is one"
            f"{alone if kind.solvable else ''}; found: {', '.join(header)[:200] or 'nothing'}"
        )
    return Columns(header, len(header), question, answer, rating)


def _blocks(
    path: Path, digest: Any, size: int, header: bool = False
) -> Iterator[tuple[list[int], list[list[str]]]]:
    """The file's rows in blocks, with the lines they end on; ``digest`` is fed its bytes.

    Blank lines are no rows, and the first row is left out if it is a ``header``. A file that is
    packed by gzip is unpacked on the way, whatever its name.
    """

    class Hashed(io.RawIOBase):
        """The file's bytes, hashed as they pass."""

        def __init__(self, file: Any) -> None:
            self.file = file

        def readable(self) -> bool:
            return True

        def readinto(self, buffer: Any) -> int:
            count = self.file.readinto(buffer)
            digest.update(memoryview(buffer)[:count])
            return int(count)

    see = "see data in params.yaml"
    with reading(path, "a file", absent=see, remedy=see), path.open("rb", buffering=0) as raw:
        file: Any = io.BufferedReader(Hashed(raw), 1 << 20)
        if file.peek(2)[:2] == b"\x1f\x8b":
            file = io.BufferedReader(gzip.GzipFile(fileobj=file), 1 << 20)
        reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", newline=""))
        try:
            rows = filter(None, reader)
            if header:
                next(rows, None)
            lines: list[int] = []
            block: list[list[str]] = []
            for row in rows:
                lines.append(reader.line_num)
                block.append(row)
                if len(block) == size:
                    yield lines, block
                    lines, block = [], []
            if block:
                yield lines, block
        except UnicodeDecodeError as error:
            raise UserError(f"{path}: not a UTF-8 text file ({error.reason})") from None
        except csv.Error as error:
            raise UserError(f"{path}, line {reader.line_num}: not CSV ({error})") from None
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise UserError(f"{path}: not a whole gzip file ({error})") from None


def symbols_of(kind: Data, task: Task) -> np.ndarray:
    """Token of each byte, uint8 [256]; 0 for bytes that stand for nothing."""
    tokens = np.zeros(256, dtype=np.uint8)
    for token, symbol in enumerate(task.csv_symbols):
        if symbol:
            tokens[ord(symbol)] = token
    for symbol, known in kind.also.items():
        tokens[ord(symbol)] = tokens[ord(known)]
    return tokens


def _parse(
    task: Task, symbols: np.ndarray, columns: Columns, block: list[list[str]]
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """(fault or "" per row, boards [B, 2 S] with question and answer side by side, ratings [B]).

    Without a column of answers, the question stands in the answer's place; without one of ratings,
    they are 0.
    """
    cells = task.cells
    _, width, at_question, answer_or_none, at_rating = columns
    at_answer = at_question if answer_or_none is None else answer_or_none
    faults = [""] * len(block)
    ratings = np.zeros(len(block), dtype=np.int64)
    texts = ["\0" * 2 * cells] * len(block)
    for place, row in enumerate(block):
        if len(row) != width:
            faults[place] = f"wrong number of columns: {len(row)}, not {width}"
            continue
        question, answer = row[at_question], row[at_answer]
        if len(question) != cells:
            faults[place] = f"wrong length of the question: {len(question)}, not {cells}"
        elif len(answer) != cells:
            faults[place] = f"wrong length of the answer: {len(answer)}, not {cells}"
        elif at_rating is None:
            texts[place] = question + answer
        elif not _NUMBER.fullmatch(rating := row[at_rating]):
            faults[place] = f"wrong rating: {rating[:20]!r} is not a number from 0"
        else:
            ratings[place] = int(float(rating))
            texts[place] = question + answer
    joined = "".join(texts).encode("latin-1", errors="replace")
    boards = symbols[np.frombuffer(joined, dtype=np.uint8)].reshape(-1, 2 * cells)
    for place in np.flatnonzero((boards == 0).any(axis=1)).tolist():
        if not faults[place]:
            cell = int(np.argmin(boards[place]))
            which = "question" if cell < cells else "answer"
            allowed = "".join(chr(code) for code in np.flatnonzero(symbols))
            faults[place] = (
                f"wrong character in the {which}: {texts[place][cell]!r} at place "
                f"{cell % cells + 1}, allowed are {allowed!r}"
            )
    return faults, boards, ratings
