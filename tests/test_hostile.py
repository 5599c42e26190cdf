"""Broken input gets one line that names it and exit code 2, and leaves the folder as it was.

The tables say, file by file, what is done to it, which command then reads it, and what is said.
Elsewhere are: values in params.yaml (test_params.py), rows and files of puzzles (test_imports.py),
checkpoints (test_foreign_checkpoints.py), damage at random (test_fuzz.py).
"""

import io
import json
import logging
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError
from safetensors import safe_open

from air import cli, probes
from air.checkpoint import load_model, save_model
from air.model.config import ModelConfig
from air.model.network import AIR, Update
from air.model.variants import Variant
from air.tasks.puzzles import load_puzzles
from air.tasks.task import Puzzles
from air.training.loop import Diverged, Trainer, train
from air.writing import write_arrays, write_tensors
from tests.test_training import CPU, bytes_of, interrupted, small_run

Damage = Callable[[Path], object]
RUN = "results/sudoku/Lx_H/seed0"
OTHER = "results/sudoku/Lx_Hx/seed0"
MODEL = f"{RUN}/model.safetensors"
TRAIN, TEST = (f"data/sudoku/{split}.safetensors" for split in ("train", "test"))
PARAMS, PAPER = "results/params.json", "reports/paper.yaml"


# What is done to a file.


def empty(path: Path) -> None:
    path.write_bytes(b"")


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def no_text(path: Path) -> None:
    path.write_bytes(b"\xff\xfe" + path.read_bytes())


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def broken_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("nothing")


def loop(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.name)


def text(content: str) -> Damage:
    return lambda path: path.write_text(content, encoding="utf-8")


def swap(old: str, new: str) -> Damage:
    def damage(path: Path) -> None:
        content = path.read_text(encoding="utf-8")
        assert old in content
        path.write_text(content.replace(old, new, 1), encoding="utf-8")

    return damage


def put(keys: str, value: Any) -> Damage:
    """Another value at a key of a JSON file."""

    def damage(path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        *outer, last = keys.split(".")
        section = content
        for key in outer:
            section = section[int(key) if isinstance(section, list) else key]
        section[last] = value
        path.write_text(json.dumps(content), encoding="utf-8")

    return damage


def header(**changes: Any) -> Damage:
    """Other entries in the header of one of our safetensors files."""
    return lambda path: rewritten(path, changes, {})


def tensors(**changes: Any) -> Damage:
    """Other tensors in one of our safetensors files."""
    return lambda path: rewritten(path, {}, changes)


def rewritten(path: Path, header: dict[str, Any], held: dict[str, Any]) -> None:
    with safe_open(path, framework="numpy") as file:
        names = list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
        write_tensors(path, tensors | held, json.loads(file.metadata()["air"]) | header)


def terabyte(path: Path) -> None:
    """A file whose header promises a terabyte: .npz or safetensors."""
    if path.suffix == ".npz":
        header = io.BytesIO()
        shape = {"descr": "|u1", "fortran_order": False, "shape": (2**40,)}
        np.lib.format.write_array_header_1_0(header, shape)
        with ZipFile(path, "w") as archive:
            archive.writestr("z_L.npy", header.getvalue())
    else:
        entry = {"x": {"dtype": "U8", "shape": [2**40], "data_offsets": [0, 2**40]}}
        content = json.dumps(entry).encode()
        path.write_bytes(len(content).to_bytes(8, "little") + content)


def arrays(**changes: Any) -> Damage:
    """Other arrays in an .npz file."""

    def damage(path: Path) -> None:
        with np.load(path) as archive:
            held = dict(archive)
        write_arrays(path, held | changes)

    return damage


def over(source: str) -> Damage:
    """Another file of the study in its place."""
    return lambda path: shutil.copyfile(source, path)


# Every file that a command reads, in the place of something else: what is said of it.

ANY = {
    folder: "cannot be read (it is not a regular file)",
    pipe: "cannot be read (it is not a regular file)",
    broken_link: "is a link to a file that is not there",
    loop: "cannot be read (Too many levels of symbolic links)",
}
JSON = ANY | dict.fromkeys((empty, half, no_text), "not a JSON file (")
YAML = ANY | {no_text: "not a YAML file ('utf-8' codec can't decode byte 0xff"}
TENSORS = ANY | dict.fromkeys((empty, half, no_text, terabyte), "not a readable safetensors file (")
NPZ = ANY | dict.fromkeys((empty, half, terabyte), "not a readable .npz file (")
CSV = ANY | dict.fromkeys((empty, no_text), "not a CSV file (")
NOTEBOOK = ANY | dict.fromkeys((empty, half, no_text), "not a notebook (")

READ: list[tuple[str, str, dict[Any, str]]] = [
    ("params.yaml", "check", YAML),
    ("params.yaml", "train sudoku Lx_H", YAML),
    (
        "imported/step_1",
        "import-checkpoint imported/step_1",
        ANY | {folder: "contains no step_N checkpoint"},
    ),
    ("imported/all_config.yaml", "import-checkpoint imported/step_1", YAML),
    ("imported/puzzles.csv", "data maze", ANY),
    (TRAIN, "train sudoku Lx_H", TENSORS),
    (TEST, "evaluate sudoku Lx_H", TENSORS),
    (TEST, "report index", TENSORS),
    (MODEL, "freeze sudoku Lx_H", TENSORS),
    (PARAMS, "claims", JSON),
    (PARAMS, "publish", JSON),
    (PAPER, "claims", YAML),
    (f"{RUN}/evaluation.json", "claims", JSON),
    (f"{RUN}/rollout.json", "claims", JSON),
    (f"{RUN}/freeze.json", "claims", JSON),
    (f"{RUN}/attention.json", "claims", JSON),
    (f"{RUN}/emergence.json", "claims", JSON),
    (f"{RUN}/rollout.npz", "report boards", NPZ),
    (f"{RUN}/attention.npz", "report maps", NPZ),
    (f"{RUN}/emergence.npz", "report strips", NPZ),
    (f"{RUN}/training.csv", "report training", CSV),
    ("data/sudoku/statistics.json", "report data", JSON),
    ("reports/claims.json", "report index", JSON),
    ("reports/cost.ipynb", "report cost", NOTEBOOK),
    ("logs/benchmark/train/sudoku/Lx_H/0.tsv", "report cost", CSV),
]
# What is inside: file, what is wrong, command, what is said after the file's name.
INSIDE: list[tuple[str, Damage, str, str]] = [
    # data sets
    (TRAIN, over(MODEL), "train sudoku Lx_H", "is not a puzzles file written by air"),
    (TRAIN, header(schema=1), "train sudoku Lx_H", "schema 1, but this version reads 2"),
    (TRAIN, header(task={"name": "chess"}), "train sudoku Lx_H",
     "its header describes no puzzles ('chess')"),
    (TRAIN, header(task=["sudoku"]), "train sudoku Lx_H", "its header describes no puzzles ("),
    (TRAIN, header(task={"name": "sudoku", "box_rows": 9**9, "box_columns": 9**9}),
     "train sudoku Lx_H", "its header describes no puzzles (a Sudoku's boxes must"),
    (TRAIN, header(task={"name": "maze", "size": 10**6}), "train sudoku Lx_H",
     "its header describes no puzzles (a maze must have 1 to 64 cells on a side"),
    (TRAIN, header(task={"name": "maze", "size": 4.0}), "train sudoku Lx_H",
     "its header describes no puzzles (sizes must be integers"),
    (TRAIN, header(seed="0"), "train sudoku Lx_H", "its header describes no puzzles (seed '0')"),
    (TRAIN, header(sha256="0"), "train sudoku Lx_H", "its boards do not match their hash"),
    (TRAIN, tensors(labels=np.zeros((3, 16), np.uint8)), "train sudoku Lx_H",
     "holds 20 questions and 3 answers"),
    (TRAIN, tensors(labels=np.zeros((20, 9), np.uint8)), "train sudoku Lx_H",
     "labels must be boards of 16 cells"),
    (TRAIN, tensors(labels=np.zeros((20, 16), np.float32)), "train sudoku Lx_H",
     "needs uint8 tensors inputs and labels"),
    (TRAIN, tensors(labels=np.full((20, 16), 9, np.uint8)), "train sudoku Lx_H",
     "labels hold a token beyond 5"),
    (TEST, over("data/maze/test.safetensors"), "evaluate sudoku Lx_H",
     "holds puzzles of maze; run air data sudoku"),
    (TEST, header(look={"fills": ["blue"], "box": None}), "report data",
     "look.fills.0: string should match pattern"),
    (TEST, header(rows="4"), "report data", "rows: input should be a valid integer, not '4'"),
    # models
    (MODEL, over(TEST), "evaluate sudoku Lx_H", "is not a model file written by air"),
    (MODEL, header(schema=None), "evaluate sudoku Lx_H", "schema None, but this version reads 1"),
    (MODEL, header(model=[]), "rollout sudoku Lx_H",
     "model: input should be a valid dictionary or instance of ModelConfig, not []"),
    (MODEL, header(model={"layers": 2, "heads": "two"}), "attention sudoku Lx_H",
     "model.heads: input should be a valid integer, not 'two'"),
    (MODEL, header(model={"layers": 10**12}), "evaluate sudoku Lx_H",
     "its header does not describe a model (1000000000000 layers)"),
    (MODEL, header(model={"layers": 2, "hidden_size": 2**40}), "evaluate sudoku Lx_H",
     "its header does not describe a model ("),
    (MODEL, header(cells=10**12), "evaluate sudoku Lx_H", "cells: input should be less than"),
    (MODEL, header(variant="Lx_H; touch pwned"), "evaluate sudoku Lx_H",
     "its header does not describe a model ('Lx_H; touch pwned' is not a variant"),
    (MODEL, header(variant="Lx_Hx"), "evaluate sudoku Lx_H",
     "holds the model of ('sudoku', 'Lx_Hx', 0), not of ('sudoku', 'Lx_H', 0)"),
    (MODEL, header(variant="hrm"), "evaluate sudoku Lx_H", "its tensors do not fit its header"),
    (MODEL, header(precision="int8"), "evaluate sudoku Lx_H", "precision: input should be"),
    (MODEL, header(origin="of species"), "evaluate sudoku Lx_H", "origin: input should be"),
    (MODEL, header(origin={}), "evaluate sudoku Lx_H", "holds the model of (None, 'Lx_H', None)"),
    (MODEL, tensors(H_init=np.zeros(3, np.float32)), "evaluate sudoku Lx_H",
     "H_init has shape (3,), but the model's is (16,)"),
    (MODEL, tensors(H_init=np.full(16, np.nan, np.float32)), "evaluate sudoku Lx_H",
     "H_init holds numbers that are not finite"),
    (MODEL, tensors(H_init=np.zeros(16, np.int32)), "evaluate sudoku Lx_H",
     "H_init holds numbers that are not finite"),
    # where something is to be written
    (f"{RUN}/evaluation.json", folder, "evaluate sudoku Lx_H",
     "there is a folder where this file should be written; move it away"),
    (f"{RUN}/attention.npz", folder, "attention sudoku Lx_H", "there is a folder where this file"),
    (f"{RUN}/training.csv", folder, "train sudoku Lx_H", "there is a folder where this file"),
    ("data/sudoku/statistics.json", folder, "data sudoku", "there is a folder where this file"),
    (PARAMS, folder, "check", "there is a folder where this file"),
    # the checked parameters
    (PARAMS, text("[]"), "claims", "input should be a valid dictionary"),
    (PARAMS, text("[" * 10**5), "claims", "not a JSON file ("),
    (PARAMS, text("9" * 5000), "claims", "not a JSON file ("),
    (PARAMS, text('{"params": NaN}'), "claims", "not a JSON file (NaN is not a number in JSON)"),
    (PARAMS, put("params.preset", "../../x"), "publish",
     "params.preset: string should match pattern"),
    (PARAMS, put("params.sudoku.variants", ["../../x"]), "publish",
     "params.sudoku.variants.0: string should match pattern"),
    (PARAMS, put("params.sudoku.variants", ["Lx_H", "L_Hx"]), "claims",
     "variants: L_Hx is missing"),
    (PARAMS, put("params.maze", None), "report index", "params.maze: input should be a valid"),
    (PARAMS, put("params.maze.train.lr", "fast"), "report index",
     "params.maze.train.lr: input should be a valid number, not 'fast'"),
    # measures
    (f"{RUN}/evaluation.json", text("[1]"), "claims", "input should be a valid dictionary"),
    (f"{RUN}/evaluation.json", text("{}"), "claims", "exact_accuracy: this key is missing"),
    (f"{RUN}/evaluation.json", put("exact_accuracy", "0.5"), "claims",
     "exact_accuracy: input should be a valid number, not '0.5'"),
    (f"{RUN}/evaluation.json", put("exact_accuracy", 50), "claims",
     "exact_accuracy: input should be less than or equal to 1, not 50"),
    (f"{OTHER}/evaluation.json", put("exact_accuracy_by_segment", [0.5]), "report training",
     f"its entries or their sizes are not those of {RUN}/evaluation.json"),
    (f"{RUN}/rollout.json", over(f"{RUN}/freeze.json"), "claims", "segments: this key is missing"),
    (f"{RUN}/rollout.json", put("z_H.undecided_overall_interval", [0.5]), "claims",
     "z_H.undecided_overall_interval: list should have at least 2 items"),
    (f"{RUN}/rollout.json", put("z_L.cell_accuracy.se", [0.5]), "report rollouts",
     "z_L.cell_accuracy: has 48 means, but 1 standard errors"),
    (f"{RUN}/freeze.json", put("effects.freeze_H.state", "z_Q"), "claims",
     "effects.freeze_H.state: input should be 'z_L' or 'z_H', not 'z_Q'"),
    (f"{OTHER}/freeze.json", put("normal.z_L.content_changes.per_transition", [1.0]),
     "report freeze", f"its entries or their sizes are not those of {RUN}/freeze.json"),
    (f"{RUN}/attention.json", put("control.d_nbr", 0.1), "claims",
     "control.d_nbr: input should be a valid dictionary"),
    (f"{RUN}/attention.json", put("adjacent.d_other", {}), "report attention",
     "adjacent.d_other.all_layers: this key is missing"),
    (f"{RUN}/emergence.json", put("snapshots.0.step", 10), "claims",
     "snapshots: step 10 comes after step 10"),
    (f"{RUN}/emergence.json", put("snapshots.0.contrast.pooled", {"queries": 9}), "claims",
     "snapshots.0.contrast.pooled: has no contrast of a neighbourhood"),
    # arrays
    (f"{RUN}/emergence.npz", arrays(z_H=np.zeros((1, 2, 16), np.uint8)), "report strips",
     "z_H has shape (1, 2, 16), not (1, 3, 16)"),
    (f"{RUN}/rollout.npz", arrays(z_L=np.zeros(3, np.uint8)), "report boards",
     "z_L has shape (3,), not (4, 48, 16)"),
    (f"{RUN}/rollout.npz", arrays(z_L=np.full((4, 48, 16), 99, np.uint8)), "report boards",
     "z_L hold a token beyond 5"),
    (f"{RUN}/rollout.npz", arrays(z_L=np.full((4, 48, 16), 0.5)), "report boards",
     "z_L holds numbers of another kind (float64)"),
    (f"{RUN}/rollout.npz", over(f"{RUN}/attention.npz"), "report boards", "z_L is missing"),
    (f"{RUN}/rollout.npz", arrays(z_L=np.array(["a"])), "report boards",
     "not a readable .npz file (z_L.npy is not numeric"),
    (f"{RUN}/attention.npz", arrays(query=np.zeros(9, np.int64)), "report maps",
     "query has shape (9,), not (4,)"),
    # tables
    (f"{RUN}/training.csv", text("step,lm_loss\n1,2\n"), "report training",
     "not a CSV file (it has no column exact_accuracy)"),
    (f"{RUN}/training.csv", text("step,lm_loss,exact_accuracy\n"), "report training",
     "not a CSV file (its column step holds no numbers)"),
    (f"{RUN}/training.csv", text("step,lm_loss,exact_accuracy\n1,much,\n"), "report training",
     "not a CSV file (its column lm_loss holds no numbers)"),
    (f"{OTHER}/training.csv", text("step,lm_loss,exact_accuracy\n1,2,3\n"), "report training",
     f"its steps are not those of {RUN}/training.csv"),
    ("logs/benchmark/train/sudoku/Lx_H/0.tsv", text("s\n1\n"), "report cost",
     "not a CSV file (it has no column max_rss)"),
    # what is told of the data, and of the claims
    ("data/sudoku/statistics.json", put("examples.inputs", [[1, 2], [3]]), "report data",
     "examples.inputs: must be boards of 16 cells"),
    ("data/sudoku/statistics.json", put("examples.labels", [[99] * 16]), "report data",
     "examples.labels: hold a token beyond 5"),
    ("data/sudoku/statistics.json", put("splits.test.traits", {}), "report data",
     "splits: train and test have other traits"),
    ("reports/claims.json", text("[]"), "report index", "input should be a valid dictionary"),
    ("reports/claims.json", put("C1.sudoku", {"verdict": "holds"}), "report index",
     "C1.sudoku.asymmetric: this key is missing; delete it and run again"),
    ("reports/claims.json", put("C1.verdict", "maybe"), "report index",
     "C1.verdict: input should be 'holds', 'fails', 'inconclusive' or 'not run', not 'maybe'"),
    (PARAMS, put("tasks", {"sudoku": "Sudoku"}), "claims",
     "tasks: maze is missing, which C1 is about; run air check"),
    (PAPER, text("[1]"), "claims", "input should be a valid dictionary"),
    (PAPER, text("accuracy: {"), "claims", "not valid YAML"),
    (PAPER, swap("std: 3.3", "std: !!python/object/apply:os.system [touch pwned]"),
     "claims", "not valid YAML: could not determine a constructor"),
    (PAPER, swap("std: 3.3", "std: 2001-99-99"), "claims", "not a YAML file (month must"),
    (PAPER, swap("mean: 58.7", "mean: many"), "claims",
     "accuracy.L_Hx.sudoku.mean: input should be a valid number, not 'many'"),
    (PAPER, swap("freeze:", "froze:"), "claims", "freeze: this key is missing"),
    (PAPER, swap("d_nbr: [", "d_nbr: [0, "), "claims",
     "attention.sudoku.control.d_nbr.0: input should be a valid list, not 0"),
    # notebooks
    ("reports/cost.ipynb", text("[]"), "report cost", "not a notebook ("),
    ("reports/cost.ipynb", text('{"cells": 1, "nbformat": 4, "nbformat_minor": 5, "metadata": {}}'),
     "report cost", "not a notebook ("),
    ("reports/cost.ipynb", swap("tables.cost(study)", "1 / 0"), "report cost",
     "ZeroDivisionError in cell 2: division by zero"),
    ("reports/cost.ipynb", swap("tables.cost(study)", "raise ValueError('a\\\\nb')"), "report cost",
     "ValueError in cell 2: a b"),
]  # fmt: skip

GENERAL = [
    pytest.param(file, damage, command, said, id=f"{file}: {damage.__name__}: {command}")
    for file, command, damages in READ
    for damage, said in damages.items()
]
OWN = [pytest.param(*row, id=f"{row[0]}: {row[3][:40]}") for row in INSIDE]


def run(command: str | list[str]) -> tuple[int, str]:
    """Run ``air`` in this process: (exit code, what it says on stderr)."""
    arguments = command.split() if isinstance(command, str) else command
    with pytest.MonkeyPatch.context() as patch:
        stderr = io.StringIO()
        patch.setattr(sys, "argv", ["air", *arguments])
        patch.setattr(sys, "stdout", io.StringIO())
        patch.setattr(sys, "stderr", stderr)
        patch.setattr(papermill, "execute_notebook", run_here)
        with pytest.raises(SystemExit) as ended:
            cli.main()
    return int(ended.value.code or 0), stderr.getvalue()


def run_here(notebook: Path, executed: Path, **_: Any) -> None:
    """What papermill does, without the seconds that a process for it takes."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    names: dict[str, Any] = {}
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    for place, source in enumerate(sources, start=1):
        try:
            exec(source, names)
        except Exception as error:
            raise PapermillExecutionError(
                place, place, source, type(error).__name__, str(error), []
            ) from None
    shutil.copyfile(notebook, executed)


def contents(folder: Path) -> dict[str, Any]:
    """Everything below a folder: bytes of files, targets of links, names of the rest."""
    found: dict[str, Any] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            found[str(path)] = path.readlink()
        else:
            found[str(path)] = path.read_bytes() if path.is_file() else None
    return found


@pytest.fixture
def study(small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    copy = tmp_path / "study"
    shutil.copytree(small_study, copy)
    monkeypatch.chdir(copy)
    return copy


def refused(command: str | list[str], folder: Path) -> str:
    """What a command says that must fail in one line, with nothing changed below ``folder``."""
    before = contents(folder)
    code, said = run(command)
    assert (code, len(said.splitlines())) == (2, 1), said
    assert said.startswith("air: ")
    assert "Traceback" not in said
    assert contents(folder) == before
    return said.removeprefix("air: ")


@pytest.mark.parametrize(("file", "damage", "command", "said"), [*GENERAL, *OWN])
def test_what_is_damaged_is_named(
    file: str, damage: Damage, command: str, said: str, study: Path
) -> None:
    damage(Path(file))
    message = refused(command, study)
    assert message.startswith(file)
    assert said in message


NAMES = [
    "Lx_H; touch pwned", "../../x", "Lx_H/../../x", "/etc/passwd", "$(touch pwned)",
    "`touch pwned`", "Lx_H\ntouch pwned", "Lx_H\0", "", "-", "Lx_H" * 20_000,
    "L\u0663x_H", "\x1b[31mLx_H", "L" + "9" * 400 + "x_H", "L0.00000000001x_H",
    "L12345678901x_H", "L1.00000000001x_H",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name[:20]))
def test_names_that_are_none(name: str, study: Path) -> None:
    for command in (
        ["train", "sudoku", "--", name],
        ["evaluate", "maze", "--", name],
        ["train", "--", name, "Lx_H"],
        ["train", "sudoku", "Lx_H", f"--seed={name}"],
        ["report", "--", name],
        ["import-checkpoint", "--", name],
        ["--", name],
    ):
        assert len(refused(command, study.parent)) < 1500
    Path("params.yaml").write_text(
        Path("params.yaml").read_text().replace("[Lx_H, Lx_Hx]", json.dumps([name, "Lx_H"]), 1)
    )
    message = refused("train sudoku Lx_H", study.parent)
    assert message.startswith("params.yaml")
    assert not list(study.parent.rglob("pwned"))


def test_odd_coefficients_are_told_what_would_be_right(study: Path) -> None:
    for name in ("L0.00000000001x_H", "L12345678901x_H"):
        said = refused(["train", "sudoku", name], study)
        assert "a coefficient has at most ten digits" in said
    assert "write Lx_H" in refused(["train", "sudoku", "L1x_H"], study)


def test_a_number_of_thousands_of_digits_is_told_in_short(study: Path) -> None:
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("heads: 4", f"heads: [0x{'F' * 9000}]", 1))
    assert len(refused("check", study)) < 200


def test_aliases_that_unfold_to_gigabytes_are_told_in_short(study: Path) -> None:
    """Ten lists of ten of the one before: ten thousand million entries, if they were written."""
    lists = [
        "a0: &a0 [x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 11)),
    ]
    path = Path("params.yaml")
    path.write_text("\n".join([*lists, path.read_text().replace("heads: 4", "heads: *a10", 1)]))
    assert len(refused("check", study)) < 300


def test_a_real_notebook_says_the_sentence_and_no_more(
    study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(f"{RUN}/attention.npz").write_bytes(b"")
    monkeypatch.setattr("tests.test_hostile.run_here", papermill.execute_notebook)
    assert refused("report maps", study).startswith(
        f"{RUN}/attention.npz: not a readable .npz file"
    )


def test_a_data_file_replaced_while_it_is_read_stays_the_old_one(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Training on a mapped file ends as if nothing had taken the file's name."""
    path, run = tmp_path / "train.safetensors", small_run(small_model)
    sudokus[0].save(path, "train")
    expected, _ = train(run, sudokus[0], CPU, tmp_path / "a")
    puzzles, draw, count = load_puzzles(path), Puzzles.draw, 0

    def replace(self: Puzzles, *key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal count
        count += 1
        if count == 4:
            sudokus[1].save(path, "train")
        return draw(self, *key)

    monkeypatch.setattr(Puzzles, "draw", replace)
    model, _ = train(run, puzzles, CPU, tmp_path / "b")
    assert count > 4
    assert len(load_puzzles(path)) == len(sudokus[1])
    assert bytes_of(model) == bytes_of(expected)


@pytest.mark.parametrize(
    ("file", "command"), [(TRAIN, "train sudoku Lx_H"), (TEST, "rollout sudoku Lx_H")]
)
def test_a_data_file_written_over_while_it_is_read_leaves_nothing(
    file: str, command: str, study: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The map shows what is written into the file: that would be two data sets in one result."""
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("steps: 250", "steps: 3", 1))
    made = contents(study / RUN)
    segment = AIR.segment

    def overwrite(self: AIR, *arguments: Any, **keywords: Any) -> Any:
        with Path(file).open("r+b") as boards:
            boards.seek(-5, os.SEEK_END)
            boards.write(b"\2\2\2\2\2")
        return segment(self, *arguments, **keywords)

    monkeypatch.setattr(AIR, "segment", overwrite)
    code, said = run(command)
    assert code == 2
    assert f"air: {file}: was overwritten while in use" in said
    assert contents(study / RUN) == made
    assert not [path for path in Path(".resume").rglob("*") if path.is_file()]


def test_a_state_of_other_puzzles_is_never_found(study: Path) -> None:
    """Of two data sets under one name, each has its own unfinished run."""
    path = Path("params.yaml")
    path.write_text(path.read_text().replace("steps: 250", "steps: 3", 1))
    keys: list[Path] = []
    for _ in range(2):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("air.training.loop.Trainer.fit", keep_folder(keys))
            run("train sudoku Lx_H")
        puzzles = load_puzzles(Path(TRAIN))
        puzzles.first(10).save(Path(TRAIN), "train")
    assert keys[0] != keys[1]


def keep_folder(keys: list[Path]) -> Callable[..., Any]:
    def fit(trainer: Trainer) -> Any:
        keys.append(trainer.files.folder)
        raise Diverged("as far as this test goes")

    return fit


def test_one_flipped_bit_in_a_state_is_noticed(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles],
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    caplog.set_level(logging.INFO, "air")
    run = small_run(small_model)
    undisturbed, _ = train(run, sudokus[0], CPU, tmp_path / "a")
    state = tmp_path / "b/state.safetensors"
    for damage in (None, flip_last, folder, pipe):
        interrupted(run, sudokus[0], tmp_path / "b", 4)
        if damage:
            damage(state)
        resumed, _ = train(run, sudokus[0], CPU, tmp_path / "b")
        said = caplog.text
        caplog.clear()
        assert ("going on from step" in said) == (damage is None)
        assert ("state.safetensors: " in said and "set aside as" in said) == (damage is not None)
        assert bytes_of(resumed) == bytes_of(undisturbed)
        clear(tmp_path / "b")


def flip_last(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def clear(folder: Path) -> None:
    for path in folder.iterdir():
        if path.is_dir():
            path.rmdir()
        else:
            path.unlink()


PROBES: list[tuple[Callable[[AIR, Puzzles], Any], str]] = [
    (lambda model, puzzles: probes.attention(model, puzzles, [0, 3]),
     "segments: 3 is not allowed: the model's go from 0 to 2"),
    (lambda model, puzzles: probes.attention(model, puzzles, [-1]), "segments: -1 is not allowed"),
    (lambda model, puzzles: probes.attention(model, puzzles, []), "segments: name at least one"),
    (lambda model, puzzles: probes.attention(
        model, puzzles, [0], updates=(Update("L", 0, 2), Update("H", 0, 0))),
     "L-cycle of an update: 2 is not allowed: the model's go from 0 to 1"),
    (lambda model, puzzles: probes.attention(
        model, puzzles, [0], updates=(Update("L", 0, 0), Update("H", 2, 0))),
     "H-cycle of an update: 2 is not allowed"),
    (lambda model, puzzles: probes.attention(
        model, puzzles, [0], updates=(Update("H", 0, 0), Update("L", 0, 0))),
     "updates: must be an L-update and an H-update"),
    (lambda model, puzzles: probes.freeze(model, puzzles, later=[1, 3]),
     "later: 3 is not allowed: the model's go from 1 to 2"),
    (lambda model, puzzles: probes.freeze(model, puzzles, later=[0]), "later: 0 is not allowed"),
    (lambda model, puzzles: probes.freeze(model, puzzles.first(0)), "there are no puzzles"),
    (lambda model, puzzles: probes.rollout(model, puzzles, boards=0), "boards: 0 is not allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("probe", "said"), PROBES, ids=[said for _, said in PROBES])
def test_probes_refuse_what_the_model_does_not_have(
    probe: Callable[[AIR, Puzzles], Any],
    said: str,
    small_model: ModelConfig,
    sudokus: tuple[Puzzles, Puzzles],
) -> None:
    with pytest.raises(ValueError, match=said):
        probe(AIR(small_model, Variant.parse("Lx_H"), 6, 16), sudokus[1])


def test_a_model_of_other_sizes_is_probed_where_it_has_segments(study: Path) -> None:
    """As an imported one may be: params.yaml asks for segments that it does not have."""
    model = load_model(Path(MODEL))
    small = AIR(model.config.model_copy(update={"max_segments": 3}), model.variant, 6, 16)
    save_model(small, Path(MODEL), dict(model.origin))
    said = refused("attention sudoku Lx_H", study)
    assert said.startswith(f"{MODEL}: segments: 4 is not allowed: the model's go from 0 to 2")
    assert run("evaluate sudoku Lx_H")[0] == 0
