"""Checkpoints as HRM's and TRM's training leaves them, number for number (golden/peers)."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

import air
from air import paths, probes
from air.cli import app
from air.files import OutOfRange
from air.probes.emergence import emergence
from air.reading import read_arrays
from air.reporting import sections
from air.reporting.display import Display
from air.reporting.study import Study
from air.solving import solve
from air.sources.sudoku import SudokuGenerated
from air.tasks.maze import Maze
from air.tasks.sudoku import Sudoku
from air.tasks.task import Puzzles
from tests.conftest import ROOT
from tests.golden_vectors import FOLDER, read
from tests.test_golden import distance

CASES = sorted(path.name for path in (FOLDER / "peers").iterdir())
SEGMENTS = 4  # of which their own code has computed what it shows
PROBED = 2  # of them, in the tests of the probes
NO_ATTENTION = {"skipped": "its blocks have no attention: they mix the positions by an MLP"}


def run(*arguments: str) -> str:
    ended = CliRunner().invoke(app, list(arguments))
    assert ended.exit_code == 0, ended.output
    return ended.output


def imported(case: str, folder: Path, **changes: str) -> Path:
    """A case by way of the command, from a copy of it with changes to its configuration."""
    copy = shutil.copytree(FOLDER / "peers" / case, folder / case)
    config = copy / "all_config.yaml"
    text = config.read_text(encoding="utf-8")
    for before, after in {"forward_dtype: bfloat16": "forward_dtype: float64", **changes}.items():
        assert before in text
        text = text.replace(before, after)
    config.write_text(text, encoding="utf-8")
    run("import-checkpoint", str(next(copy.glob("step_*"))))
    return copy / "model.safetensors"


def computed(case: str) -> dict[str, torch.Tensor]:
    """What their own code computes."""
    return read(FOLDER / "peers" / case / "computed.safetensors")[0]


def test_there_are_cases() -> None:
    assert len(CASES) == 6


@pytest.mark.parametrize("case", CASES)
@torch.inference_mode()
def test_a_checkpoint_computes_here_what_it_computes_there(case: str, tmp_path: Path) -> None:
    model, theirs = air.load(imported(case, tmp_path)), computed(case)
    inputs = theirs["inputs"].long()
    x, (z_L, z_H) = model.embed(inputs), model.fresh_states(len(inputs))
    for segment in range(SEGMENTS):
        z_L, z_H = model.segment(x, z_L, z_H)
        heads, logits = model.heads(z_H), theirs[f"segment{segment}/logits"]
        assert distance(heads.logits, logits) < (1e-9 if segment < 2 else 1e-7), segment
        assert torch.equal(heads.logits.argmax(dim=-1), logits.argmax(dim=-1)), segment
        for name in ("q_halt", "q_continue"):  # which their code rounds to float32
            ours = getattr(heads, name).float().double()
            assert distance(ours, theirs[f"segment{segment}/{name}"]) < 2e-7, (segment, name)
    assert distance(z_H, theirs["final/z_H"]) < 1e-7
    assert distance(z_L, theirs["final/z_L"]) < 1e-7


def boards_of(case: str) -> Puzzles:
    """The boards of a case; a Sudoku's answers are what their model shows then."""
    theirs = computed(case)
    inputs = theirs["inputs"].numpy().astype(np.uint8)
    if inputs.shape[1] == 900:
        return Puzzles(Maze(30), inputs, inputs, 0)
    shown = theirs[f"segment{PROBED - 1}/logits"].argmax(dim=-1).numpy().astype(np.uint8)
    return Puzzles(Sudoku(3, 3), inputs, shown.clip(min=1), 0)  # an answer has no padding


def test_the_documented_recipe_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    """TRM's, at smoke size: the loss falls, and the model that is kept is measured."""
    yaml = YAML(typ="safe")
    page = (ROOT / "docs/peers.md").read_text(encoding="utf-8")
    recipe = yaml.load(page.split("## Train")[1].split("```yaml\n")[1].split("```")[0])
    recipe["model"] |= {"hidden_size": 32, "heads": 4, "inner_multiple": 32, "max_segments": 2}
    recipe["train"] |= {"batch_size": 8, "lr": 2e-3, "warmup_steps": 5, "log_every": 10}
    recipe["train"] |= {"steps": 40, "epochs": None}
    params = yaml.load(ROOT / "presets/smoke.yaml")
    params["sudoku"] |= recipe
    for probe in ("attention", "emergence"):
        params["sudoku"]["probes"][probe]["segments"] = [1]
    params["sudoku"]["probes"]["emergence"]["variants"] = []
    monkeypatch.chdir(tmp_path)
    yaml.dump(params, Path("params.yaml"))
    for split, puzzles in zip(("train", "test"), sudokus, strict=True):
        puzzles.save(paths.data("sudoku", split), split)
    for stage in ("train", "evaluate", "attention"):
        run(stage, "sudoku", "Lx_H")
    folder = paths.run("sudoku", "Lx_H", 0)
    curve = pd.read_csv(folder / "training.csv", na_values="-")
    assert (curve["q_continue_loss"] == 0).all()
    assert curve["lm_loss"].iloc[-1] < 0.9 * curve["lm_loss"].iloc[0]
    model = air.load(folder / "model.safetensors")
    assert (model.config.slots, model.config.mixing, model.lead) == (16, "mlp", 16)
    looked = json.loads((folder / "attention.json").read_text(encoding="utf-8"))
    assert looked == NO_ATTENTION


@pytest.mark.parametrize("case", CASES)
def test_every_probe_looks_into_an_imported_model(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Evaluation and the probes, as stages; what they show are the boards computed there."""
    puzzles, theirs = boards_of(case), computed(case)
    task = puzzles.task.name
    text = (ROOT / "presets/smoke.yaml").read_text(encoding="utf-8")
    text = text.replace("[2, 4, 6, 7]", "[0, 1]")
    (tmp_path / "params.yaml").write_text(text, encoding="utf-8")
    for split in ("train", "test"):
        puzzles.save(tmp_path / paths.data(task, split), split)
    segments = {f"halt_max_steps: {n}": f"halt_max_steps: {PROBED}" for n in (8, 16)}
    config = (FOLDER / "peers" / case / "all_config.yaml").read_text(encoding="utf-8")
    changes = {before: after for before, after in segments.items() if before in config}
    file = imported(case, tmp_path, **changes)
    model = air.load(file)
    folder = tmp_path / paths.run(task, model.variant.name, 0)
    folder.mkdir(parents=True)
    shutil.copyfile(file, folder / "model.safetensors")
    monkeypatch.chdir(tmp_path)
    for stage in ("evaluate", "rollout", "freeze", "attention"):
        run(stage, task, model.variant.name)

    def measured(probe: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / f"{probe}.json").read_text(encoding="utf-8"))
        return found

    last = [theirs[f"segment{k}/logits"].argmax(dim=-1).numpy() for k in range(PROBED)]
    solved = [(boards == puzzles.labels).all(axis=1).mean() for boards in last]
    assert measured("evaluation")["exact_accuracy_by_segment"] == solved
    right = (last[-1] == puzzles.labels).mean()
    assert measured("evaluation")["cell_accuracy"] == pytest.approx(right, abs=1e-4)
    boards = read_arrays(folder / "rollout.npz")["z_H"]  # [B, sub-steps, S]
    updates = model.config.updates_per_segment
    assert np.array_equal(boards[:, updates - 1 :: updates], np.stack(last, axis=1))
    assert measured("freeze")["transitions"] == PROBED * updates - 1
    entry = emergence([(0, model)], puzzles, [0, 1]).measures.content()["snapshots"][0]
    assert entry["exact_accuracy"]["mean"] == solved[-1]
    if model.config.mixing == "attention":
        attention = measured("attention")
        assert len(attention["control"]["d_ent"]["mean"]) == model.config.layers
        for kind in ("control", "adjacent"):
            ours = next(name for name in attention[kind] if name.startswith("d_"))
            assert entry["contrast"][kind][ours]["mean"] == attention[kind][ours]["mean"]
    else:
        assert measured("attention") == NO_ATTENTION
        assert read_arrays(folder / "attention.npz") == {}
        assert "contrast" not in entry
        with pytest.raises(OutOfRange, match="the model has no attention"):
            probes.attention(model, puzzles, [1])


def test_a_page_says_in_one_line_that_there_is_no_attention(
    small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = shutil.copytree(small_study, tmp_path / "study")
    monkeypatch.chdir(folder)
    both = [folder / paths.run("sudoku", name, 0) / "attention.json" for name in ("Lx_H", "Lx_Hx")]

    def shown() -> list[str]:
        study = Study.load()
        parts: list[Display | list[Display]] = [sections.heading("One"), [sections.heading("Two")]]
        return [str(part.html) for part in sections.attended(study, "sudoku", lambda: parts)]

    assert shown() == ["<h3>One</h3>", "<h3>Two</h3>"]
    both[1].write_text(json.dumps(NO_ATTENTION), encoding="utf-8")
    reason = f"({NO_ATTENTION['skipped']}).</p>"
    line = f"<p>Not measured: Lx_Hx, seed 0 {reason}"
    assert shown() == [line, "<h3>One</h3>", "<h3>Two</h3>"]
    assert list(Study.load().attentions("sudoku")) == [("Lx_H", 0)]
    both[0].write_text(json.dumps(NO_ATTENTION), encoding="utf-8")
    assert shown() == [f"<p>Not measured: Lx_H, seed 0; Lx_Hx, seed 0 {reason}"]
    run("claims")


def test_a_model_without_a_continue_logit_halts_where_its_own_code_does(tmp_path: Path) -> None:
    """TRM's when its halt logit is positive, HRM's when it exceeds the continue logit."""
    kind = SudokuGenerated(source="generate", box=[3, 3], clues=30, train=1, test=1)
    halted = {}
    for case in ("trm_mlp_sudoku", "hrm_sudoku"):
        theirs = computed(case)
        path = imported(case, tmp_path, **{"halt_max_steps: 16": f"halt_max_steps: {SEGMENTS}"})
        found = solve(air.load(path), kind, theirs["inputs"].numpy().astype(np.uint8))
        halted[case] = [solved.halted for solved in found]
        wants = torch.stack(
            [
                theirs[f"segment{k}/q_halt"]
                > (0 if case.startswith("trm") else theirs[f"segment{k}/q_continue"])
                for k in range(SEGMENTS)
            ]
        )
        first = torch.where(wants.any(dim=0), wants.int().argmax(dim=0) + 1, SEGMENTS)
        assert halted[case] == first.tolist()
    assert any(len(set(found)) > 1 for found in halted.values())
