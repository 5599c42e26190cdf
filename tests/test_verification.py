"""`air verify`: the same bytes, the same within a tolerance, different; and verdicts."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import save_file
from typer.testing import CliRunner

from air import verification
from air.cli import app
from air.files import UserError
from tests.conftest import ROOT

CLAIMS = {"C1": {"title": "t", "verdict": "holds", "sudoku": {"verdict": "holds", "effect": 0.1}}}
NUMBERS = {"exact_accuracy": 0.5, "by_segment": [0.1, None, 0.5], "note": "same"}


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


def commit(folder: Path, stages: dict[str, list[str]], cached: bool = False) -> None:
    """Commit ``folder`` with its stages, a dvc.lock of what they made, and maybe DVC's cache."""
    (folder / ".dvc").mkdir(exist_ok=True)
    (folder / ".dvc/config").touch()
    defined = {name: {"cmd": f"air {name}", "outs": outs} for name, outs in stages.items()}
    YAML().dump({"stages": defined}, folder / "dvc.yaml")
    lock: dict[str, Any] = {"schema": "2.0", "stages": {}}
    for name, outs in stages.items():
        entries = [{"path": out, "hash": "md5", "md5": md5(folder / out)} for out in outs]
        lock["stages"][name] = {"cmd": f"air {name}", "outs": entries}
        for entry in entries if cached else ():
            kept = folder / ".dvc/cache/files/md5" / entry["md5"][:2] / entry["md5"][2:]
            kept.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / entry["path"], kept)
    YAML().dump(lock, folder / "dvc.lock")
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    (folder / ".gitignore").write_text("*.safetensors\n*.csv\n.dvc/\n")
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "results"]):
        subprocess.run([*git, *command], cwd=folder, check=True)


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A committed study of two stages, in the current folder."""
    for name, content in (
        ("results/evaluation.json", json.dumps(NUMBERS)),
        ("results/training.csv", "step,loss\n1,0.5\n2,\n"),
        ("reports/claims.json", json.dumps(CLAIMS)),
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    commit(
        tmp_path,
        {
            "train": ["results/training.csv"],
            "evaluate": ["results/evaluation.json"],
            "claims": ["reports/claims.json"],
        },
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def verify() -> tuple[int, str]:
    ended = CliRunner().invoke(app, ["verify"])
    return ended.exit_code, ended.output


def test_the_same_bytes(study: Path) -> None:
    code, said = verify()
    assert code == 0
    assert "3 stages: 3 same bytes; no verdicts changed" in said


@pytest.mark.parametrize(
    ("change", "code", "outcome", "largest"),
    [
        ({"exact_accuracy": 0.5001}, 0, "within tolerance", 1e-4),
        ({"by_segment": [0.1, None, 0.5059]}, 0, "within tolerance", 0.0059),
        ({"exact_accuracy": 0.507}, 1, "different", 0.007),
        ({"by_segment": [0.1, 0.2, 0.5]}, 1, "different", float("inf")),
        ({"by_segment": [0.1, None]}, 1, "different", 0.0),
        ({"note": "another"}, 1, "different", 0.0),
        ({"more": 1}, 1, "different", 0.0),
    ],
)
def test_numbers_are_compared(
    study: Path, change: dict[str, Any], code: int, outcome: str, largest: float
) -> None:
    (study / "results/evaluation.json").write_text(json.dumps(NUMBERS | change))
    found = verification.compare()
    assert found["evaluate"].outcome == outcome
    assert found["evaluate"].largest == pytest.approx(largest)
    assert found["train"].outcome == found["claims"].outcome == "same bytes"
    ended, said = verify()
    assert ended == code
    assert outcome in said


def test_one_byte_of_what_git_does_not_have(study: Path) -> None:
    """Without DVC's cache of what was committed, only that the bytes are others is known."""
    (study / "results/training.csv").write_text("step,loss\n1,0.5\n2,1\n")
    assert verification.compare()["train"].outcome == "other bytes"
    assert verify()[0] == 0
    (study / "results/training.csv").unlink()
    code, said = verify()
    assert code == 1
    assert "train     not made" in said


def test_a_stage_that_the_study_no_longer_has_is_not_asked_for(study: Path) -> None:
    """DVC leaves it in dvc.lock, and whoever computes the study does not make it."""
    defined = YAML().load(study / "dvc.yaml")
    del defined["stages"]["train"]
    YAML().dump(defined, study / "dvc.yaml")
    (study / "results/training.csv").unlink()
    code, said = verify()
    assert code == 0
    assert "2 stages: 2 same bytes" in said


def test_a_damaged_dvc_yaml_is_named(study: Path) -> None:
    (study / "dvc.yaml").write_text("stages: [")
    with pytest.raises(UserError, match=r"dvc\.yaml"):
        verification.compare()


@pytest.mark.parametrize("name", ["rollout.npz", "model.safetensors", "training.csv"])
def test_a_damaged_file_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path(name)
    match path.suffix:
        case ".npz":
            np.savez(path, boards=np.zeros(100))
        case ".safetensors":
            save_file({"weight": torch.zeros(100)}, path)
        case _:
            path.write_text("step,loss\n1,0.5\n2,0.25\n")
    commit(tmp_path, {"rollout": [name]}, cached=True)
    path.write_bytes(path.read_bytes()[:-3] if path.suffix != ".csv" else b"step,loss\n1\n")
    with pytest.raises(UserError, match=f"{re.escape(name)}: cannot be compared: "):
        verification.compare()


def test_a_verdict_that_changed(study: Path) -> None:
    claims = json.loads(json.dumps(CLAIMS))
    claims["C1"]["sudoku"]["verdict"] = "fails"
    (study / "reports/claims.json").write_text(json.dumps(claims))
    code, said = verify()
    assert code == 1
    assert "verdict of C1 on sudoku: holds is committed, fails is here" in said


def test_what_git_does_not_give_is_said_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Exception, match=r"dvc.lock at HEAD: not a git repository"):
        app(["verify"], standalone_mode=False)
    subprocess.run(["git", "init", "-q"], check=True)
    with pytest.raises(Exception, match=r"dvc.lock at HEAD: .*HEAD"):
        app(["verify"], standalone_mode=False)


def test_another_precision_is_told_by_its_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A training in bfloat16 beside the committed one in float32: every weight is compared."""
    monkeypatch.chdir(tmp_path)
    text = (ROOT / "presets/smoke.yaml").read_text().replace("steps: 250", "steps: 3")
    text = text.replace("train: 400", "train: 40")
    assert "precision: float32" in text

    def train(precision: str) -> None:
        params = text.replace("precision: float32", f"precision: {precision}")
        Path("params.yaml").write_text(params)
        for command in ("train", "evaluate"):
            app([command, "sudoku", "Lx_H"], standalone_mode=False)

    Path("params.yaml").write_text(text)
    app(["data", "sudoku"], standalone_mode=False)
    train("float32")
    run = "results/sudoku/Lx_H/seed0"
    Path("reports").mkdir()
    Path("reports/claims.json").write_text(json.dumps(CLAIMS))
    stages = {"train": [f"{run}/model.safetensors"], "evaluate": [f"{run}/evaluation.json"]}
    commit(tmp_path, stages, cached=True)
    assert {one.outcome for one in verification.compare().values()} == {"same bytes"}
    train("bfloat16")
    found = verification.compare()
    assert found["train"].outcome in ("within tolerance", "different")
    assert 0 < found["train"].largest < 0.1
    assert "model.safetensors: " in found["train"].where
    assert found["evaluate"].outcome in ("same bytes", "within tolerance", "different")
