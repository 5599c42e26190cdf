"""Bad parameters get one clear line, before anything runs, whoever reads them."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from jsonschema import Draft202012Validator
from ruamel.yaml import YAML
from typer.testing import CliRunner

from air.cli import app
from air.files import UserError
from air.params import load_params
from tests.conftest import ROOT

PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
SMOKE = (ROOT / "presets" / "smoke.yaml").read_text(encoding="utf-8")

# what is changed in the smoke preset, and what must be said of it
FAULTS = [
    ("heads: 4", "heads: 5", "sudoku.model: hidden_size 32 with heads 5 is not allowed"),
    ("heads: 4", "haeds: 4", "sudoku.model.haeds: unknown key; allowed here: layers, hidden_size"),
    ("heads: 4", "heads: four", "sudoku.model.heads: input should be a valid integer, not 'four'"),
    ("heads: 4", "heads: -4", "sudoku.model.heads: input should be greater than 0, not -4"),
    ("seeds: [0]\n", "seeds: [0, 0]\n", "sudoku.seeds: 0 is listed twice"),
    ("seeds: [0]\n", "seeds: [-1]\n", "sudoku.seeds: -1 is not allowed"),
    ("seeds: [0]\n", "seeds: []\n", "sudoku.seeds: is empty, but variants is not; empty both"),
    ("  variants: [Lx_H, Lx_Hx]\n", "  variants: []\n", "sudoku.variants: is empty, but seeds"),
    ("  variants: [Lx_H, Lx_Hx]\n", "  variants: [Lx_H, Lx_Q]\n", "sudoku.variants: 'Lx_Q' is not"),
    ("  variants: [Lx_H, Lx_Hx]\n", "  variants: [Lx_H, Lx_H]\n",
     "sudoku.variants: Lx_H is listed twice"),
    ("  variants: [Lx_H, Lx_Hx]\n", "  variants: [Lx_H]\n",
     "sudoku.probes.rollout.variants: Lx_Hx is not among the task's variants ['Lx_H']"),
    ("segments: [2, 4, 6, 7]", "segments: [1], L_update: [0, 2]",
     "sudoku.probes.attention.L_update: 2 is not allowed: the model's cycles go from 0 to 1"),
    ("seeds: [0], puzzles: 64 }", "seeds: [0], puzzles: 64, later: [8] }",
     "sudoku.probes.freeze.later: 8 is not allowed: segments go from 0 to 7"),
    ("segments: [2, 4, 6, 7]", "segments: [8]", "sudoku.probes.attention.segments: 8 is not"),
    ("box: [2, 2]", "box: [3, 2]", "sudoku.data: box [3, 2] is not allowed"),
    ("box: [2, 2]", "box: 4", "sudoku.data.box: input should be a valid list, not 4"),
    ("clues: 10", "clues: 10\n    colour: red",
     "sudoku.data.colour: unknown key; allowed here: source, train, test, seed, box, "
     "augmentations, clues, rating"),
    ("save_every_seconds: 30.0", "save_every_seconds: .inf",
     "runtime.save_every_seconds: input should be a finite number, not inf"),
    ("boards: 4 }", "boards: 4, depth: 2 }",
     "sudoku.probes.rollout.depth: 2 is below model.max_segments 8"),
    ("segments: [2, 7]", "segments: [8]", "sudoku.probes.emergence.segments: 8 is not allowed"),
    ("    snapshots: 2\n", "",
     "sudoku.probes.emergence.variants: are probed at their snapshots, but train.snapshots asks"),
    ("segments: [2, 4, 6, 7]", "segments: [2, 2]", "attention.segments: 2 is listed twice"),
    ("clues: 10", "clues: some",
     "sudoku.data.clues: input should be a valid integer or input should be 'minimal', not 'some'"),
    ("clues: 10", "clues: 10\n    rating: [5, 2]", "sudoku.data: rating [5, 2] is not allowed"),
    ("source: generate", "source: hub", "sudoku.data.source: must be one of 'generate', 'csv'"),
    ("source: generate", "source: huggingface", "sudoku.data.repo: this key is missing"),
    ("    source: generate\n", "", "sudoku.data.source: this key is missing: generate, csv or"),
    ("clues: 10", "clues: 16", "sudoku.data: clues must be below the board's 16 cells"),
    ("clues: 10", "clues: 10\n    clues: 9", "line 19: not valid YAML: found duplicate key"),
    ("snapshots: 2", "snapshots: [0, 300]",
     "sudoku.train: snapshots: 300 is not allowed: steps go from 0 to 250"),
    ("snapshots: 2", "snapshots: [10, 5]", "snapshots: 10 comes before 5"),
    ("snapshots: 2", "snapshots: [5, 5]", "sudoku.train: snapshots: 5 is listed twice"),
    ("snapshots: 2", "snapshots: some",
     "sudoku.train.snapshots: input should be a valid integer or input should be a valid list"),
    ("schedule: cosine", "schedule: linear", "sudoku.train.schedule: input should be 'constant'"),
    ("lr: 2.0e-3", "lr: .nan", "sudoku.train.lr: input should be"),
    ("betas: [0.9, 0.95]", "betas: [0.9, 1.5]", "sudoku.train.betas.1: input should be less"),
    ("device: cpu", "device: gpu", "compute.device: input should be 'auto', 'cpu'"),
    ("maze:\n", "maize:\n", "maze: this key is missing"),
    ("preset: smoke\n", "preset: ../smoke\n", "preset: string should match pattern"),
    ("preset: smoke\n", "preset: smoke\nextra: 1\n", "extra: unknown key; allowed here: preset"),
    (SMOKE, "", "must be a mapping with the keys preset, compute"),
    (SMOKE, "[1, 2]", "must be a mapping with the keys preset, compute"),
    (SMOKE, "a: [1", "not valid YAML"),
    (SMOKE, "!!python/object/apply:os.system ['touch pwned']", "not valid YAML"),
]  # fmt: skip


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_presets_are_valid_and_named(path: Path) -> None:
    assert load_params(path).preset == path.stem


@pytest.mark.parametrize(("old", "new", "message"), FAULTS, ids=[new[:30] for _, new, _ in FAULTS])
def test_faults_are_one_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in SMOKE
    path = tmp_path / "params.yaml"
    path.write_text(SMOKE.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as caught:
        load_params(path)
    said = str(caught.value)
    assert said.startswith(str(path))
    assert message in said
    assert "\n" not in said
    assert not (tmp_path / "pwned").exists()


def test_an_unknown_key_of_a_checkpoint_is_one_line(tmp_path: Path) -> None:
    """Its section is one of a mapping's values."""
    path = tmp_path / "params.yaml"
    entry = "  checkpoints: {HRM: {source: x, sorce: y}}\n  probes:\n"
    path.write_text(SMOKE.replace("  probes:\n", entry, 1), encoding="utf-8")
    with pytest.raises(UserError, match=r"HRM\.sorce: unknown key; allowed here: source"):
        load_params(path)


def test_a_task_may_be_left_out_but_not_all(tmp_path: Path) -> None:
    content: Any = YAML(typ="safe").load(SMOKE)
    path = tmp_path / "params.yaml"
    for task in ("maze", "sudoku"):
        for runs in (content[task], *content[task]["probes"].values()):
            runs |= {"variants": [], "seeds": []}
        YAML(typ="safe").dump(content, path)
        if task == "maze":
            assert load_params(path).task("maze").variants == []
    with pytest.raises(UserError, match="no task has variants to train: give some to sudoku or"):
        load_params(path)


@pytest.mark.parametrize(
    "command",
    [
        ["check"],
        ["data", "sudoku"],
        ["train", "maze", "Lx_H"],
        ["evaluate", "maze", "Lx_H"],
        ["attention", "sudoku", "Lx_H", "--seed", "0"],
    ],
    ids=" ".join,
)
def test_every_command_checks_first(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "params.yaml").write_text(SMOKE.replace("heads: 4", "heads: 5", 1))
    ended = air(tmp_path, *command)
    assert ended.returncode == 2
    assert ended.stderr.startswith("air: params.yaml: sudoku.model: hidden_size 32 with heads 5")
    assert len(ended.stderr.splitlines()) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["params.yaml"]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["train", "sudoku", "Lx_Q"], "'Lx_Q' is not a variant"),
        (["train", "sudoku", "Lx_H"], "data/sudoku/train.safetensors: there is no such file"),
        (["evaluate", "sudoku", "Lx_H"], "data/sudoku/test.safetensors: there is no such file"),
        (["claims"], "results/params.json: there is no such file"),
        (["report", "nothing"], "reports/nothing.ipynb: there is no such notebook"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_missing_is_named(tmp_path: Path, command: list[str], message: str) -> None:
    (tmp_path / "params.yaml").write_text(SMOKE)
    ended = air(tmp_path, *command)
    assert ended.returncode == 2
    assert message in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_help_shows_an_example() -> None:
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert len(commands) > 10
    for command in commands:
        ended = CliRunner().invoke(app, [command, "--help"])
        assert f"Example: air {command}" in " ".join(ended.output.split())


def air(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    main = "from air.cli import main; main()"
    return subprocess.run(
        [sys.executable, "-c", main, *command], cwd=folder, capture_output=True, text=True
    )


def test_editors_get_the_schema_of_what_is_checked() -> None:
    """The committed schema is the code's; what it says of keys is what `air check` says."""
    printed = CliRunner().invoke(app, ["check", "--schema"])
    kept = (ROOT / "presets/params.schema.json").read_text(encoding="utf-8")
    assert printed.output == kept, "run: air check --schema > presets/params.schema.json"
    validator = Draft202012Validator(json.loads(kept))
    for path in (ROOT / "params.yaml", *PRESETS):
        text = path.read_text(encoding="utf-8")
        line = text.splitlines()[0]
        assert line.startswith("# yaml-language-server: $schema=")
        assert (path.parent / line.split("=")[1]).read_text(encoding="utf-8") == kept
        assert list(validator.iter_errors(YAML(typ="safe").load(text))) == []
    for old, new in (
        ("heads: 4", "haeds: 4"),
        ("heads: 4", "heads: four"),
        ("lr: 2.0e-3", "lr: -1"),
    ):
        wrong = YAML(typ="safe").load(SMOKE.replace(old, new, 1))
        assert list(validator.iter_errors(wrong)), new
