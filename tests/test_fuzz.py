"""Whatever bytes a file holds, a loader gives what they say, or says in one line what is wrong.

Valid files are cut, spliced, flipped and given other values at random; the draws are the same on
every machine. A header that claims more than there is must not be believed: memory is limited.
"""

import re
import resource
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file

from air.checkpoint import load_model
from air.files import UserError
from air.foreign.checkpoints import import_checkpoint
from air.model.config import ModelConfig
from air.params import load_params
from air.reading import read_arrays
from air.reporting.claims import judge, read
from air.reporting.study import Study
from air.sources.imports import COLUMNS, read_csv
from air.sources.maze import MazeCsv
from air.tasks.puzzles import load_puzzles
from air.tasks.task import Puzzles
from air.training.state import StateFiles
from tests.golden_vectors import FOLDER
from tests.test_foreign_checkpoints import arch_of, weights, write_checkpoint
from tests.test_training import CPU, interrupted, small_run

RUN = Path("results/sudoku/Lx_H/seed0")
ODD = (
    b"", b"null", b"true", b"-1", b"0", b"1e999", b"9" * 40, b"[]", b"{}", b'"x"', b"*a", b"'",
    b"\xff", b"\0", b"\n", b"0x", b"2001-99-99", b"!!int a", b"- ", b"? ", b"%", b"NaN",
)  # fmt: skip
WORD = re.compile(rb"[\w.+-]+")


@st.composite
def damaged(draw: st.DrawFn, content: bytes) -> bytes:
    """``content`` after one to three accidents; most of them near its ends, where headers are."""
    data = content
    for _ in range(draw(st.integers(1, 3))):
        size = len(data)
        ends = min(size, 300)
        place = draw(st.integers(0, ends) | st.integers(size - ends, size) | st.integers(0, size))
        match draw(st.sampled_from(("flip", "cut", "delete", "insert", "repeat", "value"))):
            case "flip" if place < size:
                bit = draw(st.integers(0, 7))
                data = data[:place] + bytes([data[place] ^ 1 << bit]) + data[place + 1 :]
            case "cut":
                data = data[:place]
            case "delete":
                data = data[:place] + data[place + draw(st.integers(1, 40)) :]
            case "insert":
                data = data[:place] + draw(st.binary(max_size=20)) + data[place:]
            case "repeat":
                begin = draw(st.integers(0, size))
                data = data[:place] + data[begin : begin + draw(st.integers(1, 200))] + data[place:]
            case "value":
                words = [found.span() for found in WORD.finditer(data[place : place + 200])]
                if words:
                    begin, end = draw(st.sampled_from(words))
                    odd = draw(st.sampled_from(ODD))
                    data = data[: place + begin] + odd + data[place + end :]
    return data


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    """No more than 2 GiB beyond what is in use: a file's claims are not worth gigabytes."""
    if sys.platform != "linux":
        yield
        return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (used + 2 * 2**30, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


def fuzz(path: Path, load: Callable[[], object], examples: int) -> None:
    """Damage ``path`` again and again: ``load`` returns, or raises a UserError of one line."""
    content = path.read_bytes()

    @settings(
        max_examples=examples,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(damaged(content) | st.binary(max_size=60))
    def attempt(data: bytes) -> None:
        path.write_bytes(data)
        try:
            load()
        except UserError as error:
            assert len(str(error).splitlines()) == 1
            assert len(str(error)) <= 1000

    attempt()
    path.write_bytes(content)
    load()


@pytest.fixture
def study(small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "study"
    shutil.copytree(small_study, copy)
    monkeypatch.chdir(copy)
    return copy


def of_study(read: Callable[[Study], object]) -> Callable[[], object]:
    return lambda: read(Study.load())


LOADERS: dict[str, tuple[Path, Callable[[], object], int]] = {
    "params.yaml": (Path("params.yaml"), load_params, 60),
    "puzzles": (Path("data/sudoku/train.safetensors"),
                lambda: load_puzzles(Path("data/sudoku/train.safetensors")), 200),
    "model": (RUN / "model.safetensors", lambda: load_model(RUN / "model.safetensors"), 150),
    "checked parameters": (Path("results/params.json"), Study.load, 40),
    "claims.json": (Path("reports/claims.json"), read, 40),
    "paper.yaml": (Path("reports/paper.yaml"), Study.load, 30),
    **{name: (RUN / name, of_study(judge), 30)
       for name in ("evaluation.json", "rollout.json", "freeze.json", "attention.json",
                    "emergence.json")},
    "rollout.npz": (RUN / "rollout.npz", lambda: read_arrays(RUN / "rollout.npz"), 150),
    "training.csv": (RUN / "training.csv", of_study(lambda study: study.curves("sudoku")), 40),
    "statistics.json": (Path("data/sudoku/statistics.json"),
                        of_study(lambda study: study.statistics("sudoku")), 40),
    "look": (Path("data/sudoku/test.safetensors"),
             of_study(lambda study: study.look("sudoku")), 40),
    "costs": (Path("logs/benchmark/train/sudoku/Lx_H/0.tsv"), of_study(Study.costs), 40),
}  # fmt: skip


@pytest.mark.parametrize("name", LOADERS)
def test_a_loader_reads_or_refuses(name: str, study: Path) -> None:
    fuzz(*LOADERS[name])


def test_a_checkpoint_is_read_or_refused(tmp_path: Path) -> None:
    state, sizes = weights(FOLDER / "Lx_H.safetensors")
    step = write_checkpoint(tmp_path / "c", state, arch_of(sizes, "Lx_H"))
    fuzz(step, lambda: import_checkpoint(step, None, 16), 100)
    fuzz(step.with_name("all_config.yaml"), lambda: import_checkpoint(step, None, 16), 60)
    held = torch.load(step, weights_only=True)
    torch.save(held, step, _use_new_zipfile_serialization=False)
    fuzz(step, lambda: import_checkpoint(step, None, 16), 100)


def test_a_file_of_puzzles_is_read_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "mazes.csv"
    rows = [
        COLUMNS,
        ["made", "S       G", "Soo  o  G", "1"],
        ["made", "S G      ", "SoG      ", "2"],
    ]
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    kind = MazeCsv(source="csv", size=3, train=1, test=None, train_path="", test_path="")
    fuzz(path, lambda: read_csv(kind, path, None, 0, skip=False), 150)
    fuzz(path, lambda: read_csv(kind, path, None, 0, skip=True), 50)


def test_a_training_state_is_used_or_set_aside(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    """A state that differs in one bit from what was saved is none: the run begins anew."""
    run = small_run(small_model)
    interrupted(run, sudokus[0], tmp_path, 4)
    state = tmp_path / "state.safetensors"
    whole = load_file(state)

    def load() -> None:
        found = StateFiles(tmp_path).load(CPU)
        if found is None:
            assert not state.exists()
        else:
            assert all(torch.equal(whole[name], tensor) for name, tensor in found[0].items())

    fuzz(state, load, 100)


def test_lists_of_names_that_were_read_are_no_paths(study: Path) -> None:
    """Whatever stands in results/params.json, no file outside of results/ is looked at."""
    seen: list[Any] = []

    def look() -> None:
        study = Study.load()
        seen.extend(variant for task in ("sudoku", "maze") for variant, _ in study.chosen(task))

    fuzz(Path("results/params.json"), look, 60)
    assert seen
    assert not [name for name in seen if "/" in name or name.startswith(".")]
