"""The trained models that come with the project are what their card says."""

import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors import safe_open
from typer.testing import CliRunner

import air
from air import paths
from air.checkpoint import load_model, save_model, save_short
from air.cli import app
from air.explorer import export
from air.files import UserError
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.params import load_params
from air.sources.datasets import make
from air.stages.explore import runs_shown
from air.tasks.registry import TASKS
from air.tasks.task import Puzzles
from tests.conftest import ROOT
from tests.pipeline import environment

CARD = (ROOT / paths.MODELS / "README.md").read_text(encoding="utf-8")
LINE = re.compile(
    r"^\| \[(?P<task>\w+)/(?P<variant>\S+)\]\((?P<file>\S+)\) \| (?P<seed>\d+) "
    r"\| (?P<parameters>[\d,]+) \| (?P<solved>[\d,]+) of (?P<puzzles>[\d,]+) \| (?P<first>\d+) "
    r"\| `(?P<digest>[0-9a-f]{64})` \|$",
    re.MULTILINE,
)
MODELS = {found["file"]: found.groupdict() for found in LINE.finditer(CARD)}
PRESETS = sorted({name.split("/")[0] for name in MODELS})


def number(text: str) -> int:
    return int(text.replace(",", ""))


@pytest.fixture(scope="session")
def ship() -> ModuleType:
    """workflow/scripts/ship.py as a module."""
    spec = importlib.util.spec_from_file_location("ship", ROOT / "workflow/scripts/ship.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def first_puzzles(ship: ModuleType) -> dict[tuple[str, str], Puzzles]:
    """By preset and task, the first test puzzles of its study: generated, as it generates them."""
    found = {}
    for preset in PRESETS:
        params = load_params(ROOT / "presets" / f"{preset}.yaml")
        for task in TASKS:
            few = params.task(task).data.model_copy(update={"test": ship.FIRST})
            found[preset, task] = make(few)[1]
    return found


def test_the_card_lists_the_files_that_are_there() -> None:
    files = {
        path.relative_to(ROOT / paths.MODELS).as_posix()
        for path in (ROOT / paths.MODELS).rglob("*.safetensors")
    }
    assert files == set(MODELS)
    assert len(files) > 1
    for preset in PRESETS:
        params = load_params(ROOT / "presets" / f"{preset}.yaml")
        for task in TASKS:
            folder = ROOT / paths.MODELS / preset / task
            assert sum(path.stat().st_size for path in folder.iterdir()) < 3_000_000
            section = params.task(task)
            shown = {variant for variant, _ in runs_shown(section.explore, section)}
            assert shown
            assert {path.stem for path in folder.iterdir()} == shown


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name.startswith("mini/") else pytest.mark.slow)
        for name in MODELS
    ],
)
def test_a_model_is_what_the_card_says(
    name: str, ship: ModuleType, first_puzzles: dict[tuple[str, str], Puzzles]
) -> None:
    said = MODELS[name]
    path = ROOT / paths.MODELS / name
    assert hashlib.sha256(path.read_bytes()).hexdigest() == said["digest"]
    model = air.load(path)
    preset, task = name.split("/")[:2]
    assert (task, model.variant.name) == (said["task"], said["variant"])
    assert (model.origin["task"], model.origin["seed"]) == (task, int(said["seed"]))
    assert model.parameter_count == number(said["parameters"])
    puzzles = first_puzzles[preset, task]
    assert ship.solved(export.in_float64(model), puzzles) == int(said["first"])


def test_the_files_solve_what_the_published_models_solve() -> None:
    """Their weights are rounded to the precision that they are computed in."""
    for name, said in MODELS.items():
        preset, task, _ = name.split("/")
        folder = (
            ROOT / paths.PUBLISHED / preset / paths.run(task, said["variant"], int(said["seed"]))
        )
        found = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
        assert found["puzzles"] == number(said["puzzles"])
        assert round(found["exact_accuracy"] * found["puzzles"]) == number(said["solved"]), name


def test_a_short_file_is_half_as_long_and_computes_the_same_in_bfloat16(
    tmp_path: Path, small_model: ModelConfig
) -> None:
    model = AIR(small_model, Variant.parse("Lx_H+prepend"), 6, 16, "bfloat16", seed=1).eval()
    with torch.no_grad():  # as after a training: no float32 happens to be a bfloat16
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 1e-3)
    save_model(model, tmp_path / "long.safetensors", {"seed": 1})
    save_short(model, tmp_path / "short.safetensors", {"seed": 1})
    sizes = {}
    for length in ("long", "short"):
        with safe_open(tmp_path / f"{length}.safetensors", framework="pt") as file:
            sizes[length] = sum(file.get_tensor(n).nbytes for n in file.keys())  # noqa: SIM118
    assert sizes["short"] * 2 == sizes["long"]
    short = load_model(tmp_path / "short.safetensors")
    assert short.origin == {"seed": 1}
    assert all(t.dtype in (torch.float32, torch.bfloat16) for t in short.state_dict().values())
    tokens = torch.from_numpy(np.random.default_rng(0).integers(1, 6, (4, 16)))

    def logits(of: AIR) -> torch.Tensor:
        states = of.fresh_states(4)
        return of.decode(of.segment(of.embed(tokens), *states)[1])

    with torch.inference_mode():
        assert torch.equal(logits(short), logits(model))


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """What `air solve` reads in a clone in which nothing has been trained."""
    shutil.copy(ROOT / "presets/mini.yaml", tmp_path / "params.yaml")
    shutil.copytree(ROOT / paths.MODELS, tmp_path / paths.MODELS)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


PUZZLE = "..3.1.6.2.4.3...2....6..1...3.2..4.."


def test_solving_without_a_trained_model_takes_the_one_that_comes_along(clone: Path) -> None:
    ended = CliRunner().invoke(app, ["solve", "sudoku", PUZZLE])
    assert ended.exit_code == 0, ended.output
    shipped = paths.shipped("mini", "sudoku", "Lx_H")
    trained = paths.run("sudoku", "Lx_H", 0) / "model.safetensors"
    assert ended.stderr == (f"{trained} not found; using {shipped}, which ships with the project\n")
    named = CliRunner().invoke(app, ["solve", "sudoku", PUZZLE, "--model", str(shipped)])
    assert (named.stdout, named.stderr) == (ended.stdout, "")
    assert len(ended.stdout.split("\t")[0]) == 36


def test_every_preset_with_models_solves_without_a_trained_one(clone: Path) -> None:
    answer = "534678912672195348198342567859761423426853791713924856961537284287419635345286179"
    shutil.copy(ROOT / "presets/medium.yaml", clone / "params.yaml")
    clues = "53..7....6..195....98....6.8...6...34..8.3..17...2...6.6....28....419..5....8..79"
    puzzle = answer[:14] + clues[14:]
    ended = CliRunner().invoke(app, ["solve", "sudoku", puzzle])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout.split("\t")[0] == answer


def test_a_trained_model_goes_before_the_one_that_comes_along(clone: Path) -> None:
    trained = paths.run("sudoku", "Lx_H", 0) / "model.safetensors"
    trained.parent.mkdir(parents=True)
    trained.write_bytes(b"damaged")
    ended = CliRunner().invoke(app, ["solve", "sudoku", PUZZLE])
    assert isinstance(ended.exception, UserError)
    assert str(ended.exception).startswith(f"{trained}: not a readable safetensors file")


@pytest.mark.parametrize(
    ("preset", "options"),
    [("mini", ["--seed", "1"]), ("mini", ["--variant", "Lx_H+minus"]), ("smoke", [])],
    ids=["seed", "variant", "preset"],
)
def test_no_model_of_another_run_is_taken_instead(
    clone: Path, preset: str, options: list[str]
) -> None:
    shutil.copy(ROOT / "presets" / f"{preset}.yaml", clone / "params.yaml")
    ended = CliRunner().invoke(app, ["solve", "sudoku", PUZZLE, *options])
    assert isinstance(ended.exception, UserError)
    assert "model.safetensors: there is no such file" in str(ended.exception)


def test_a_study_of_other_seeds_does_not_take_it_either(clone: Path) -> None:
    params = (clone / "params.yaml").read_text().replace("seeds: [0]", "seeds: [7]")
    (clone / "params.yaml").write_text(params)
    ended = CliRunner().invoke(app, ["solve", "sudoku", PUZZLE, "--seed", "7"])
    assert isinstance(ended.exception, UserError)
    assert "seed7/model.safetensors: there is no such file" in str(ended.exception)


def run_ship(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    script = str(ROOT / "workflow/scripts/ship.py")
    return subprocess.run(
        [sys.executable, script, *arguments],
        cwd=folder, env=environment(ROOT), capture_output=True, text=True,
    )  # fmt: skip


def test_the_models_are_put_where_the_study_would_have_its_own(
    clone: Path, first_puzzles: dict[tuple[str, str], Puzzles]
) -> None:
    for task in TASKS:  # there already: the stage that makes them is tested elsewhere
        path = paths.data(task, "test")
        path.parent.mkdir(parents=True)
        first_puzzles["mini", task].save(path, "test")
    own = paths.run("maze", "L_Hx", 0) / "model.safetensors"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"theirs")
    ended = run_ship(clone, "use")
    assert ended.returncode == 0, ended.stderr
    assert own.read_bytes() == b"theirs"
    of_mini = {name: said for name, said in MODELS.items() if name.startswith("mini/")}
    for name, said in of_mini.items():
        target = paths.run(name.split("/")[1], said["variant"], int(said["seed"]))
        if target != own.parent:
            copied = (target / "model.safetensors").read_bytes()
            assert copied == (paths.MODELS / name).read_bytes()
    assert CliRunner().invoke(app, ["freeze", "sudoku", "Lx_H", "-q"]).exit_code == 0


def test_of_the_models_those_are_used_that_the_study_has(
    clone: Path, first_puzzles: dict[tuple[str, str], Puzzles]
) -> None:
    for task in TASKS:
        path = paths.data(task, "test")
        path.parent.mkdir(parents=True)
        first_puzzles["mini", task].save(path, "test")
    params = YAML().load(clone / "params.yaml")
    params["sudoku"]["variants"] = ["Lx_H"]
    params["maze"]["variants"] = params["maze"]["seeds"] = []
    for task in ("sudoku", "maze"):
        for probe in params[task]["probes"].values():
            probe["variants"] = params[task]["variants"]
            probe["seeds"] = params[task]["seeds"]
    YAML().dump(params, clone / "params.yaml")
    ended = run_ship(clone, "use")
    assert ended.returncode == 0, ended.stderr
    found = sorted(path.parent.as_posix() for path in Path("results").rglob("model.safetensors"))
    assert found == ["results/sudoku/Lx_H/seed0"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["use"],
            "air: params.yaml: preset smoke: no models come with it; there are: medium, mini\n",
        ),
        (["make"], "air: models/README.md: has no part between <!-- smoke: made by "),
    ],
)
def test_a_preset_without_models_is_refused(clone: Path, arguments: list[str], said: str) -> None:
    shutil.copy(ROOT / "presets/smoke.yaml", clone / "params.yaml")
    ended = run_ship(clone, *arguments)
    assert ended.returncode == 2
    assert ended.stderr.startswith(said)
    assert len(ended.stderr.splitlines()) == 1
    assert not (clone / "results").exists()
