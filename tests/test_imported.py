"""Models that others trained, as a part of a study: imported, measured, shown, and left out."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from typer.testing import CliRunner

import air
from air import paths
from air.checkpoint import load_snapshot, snapshot_steps
from air.cli import app
from air.files import UserError
from air.foreign.sources import find
from air.params import load_params
from air.reading import read_arrays
from air.reporting import claims, imported, sections
from air.reporting.claims.claim import ByRun
from air.reporting.study import Study
from air.stages.claims import claims as judge
from tests.conftest import ROOT
from tests.golden_vectors import FOLDER
from tests.pipeline import call, scratch
from tests.test_hub_checkpoints import Models
from tests.test_imports import REVISION, serving
from tests.test_imports import run as run_beside_hub

PEERS = FOLDER / "peers"
STEPS = (10, 200, 3000)


def run(*arguments: str) -> str:
    ended = CliRunner().invoke(app, list(arguments))
    assert ended.exit_code == 0, ended.output
    return ended.output


def refused(*arguments: str) -> str:
    ended = CliRunner().invoke(app, list(arguments))
    assert isinstance(ended.exception, UserError), ended.output
    return str(ended.exception)


def with_others(checkpoints: dict[str, dict[str, Any]], **sudoku: Any) -> dict[str, Any]:
    """Parameters of smoke, 9 x 9 Sudokus, whose study has these models, too."""
    params: dict[str, Any] = YAML(typ="safe").load(ROOT / "presets/smoke.yaml")
    section = params["sudoku"]
    section["data"] |= {"box": [3, 3], "clues": 40, "train": 20, "test": 4}
    section |= {"imported": list(checkpoints), "checkpoints": checkpoints, **sudoku}
    section["train"] |= {"steps": 20, "warmup_steps": 2}
    for probe in section["probes"].values():
        probe["puzzles"] = 4
    return params


def series(folder: Path, case: str = "trm_att_sudoku") -> Path:
    """A folder with checkpoints of several steps: a golden one, and ones nearer to nothing."""
    folder.mkdir(parents=True)
    shutil.copyfile(PEERS / case / "all_config.yaml", folder / "all_config.yaml")
    last = torch.load(next((PEERS / case).glob("step_*")), weights_only=True)
    for place, step in enumerate(STEPS, start=1):
        part = place / len(STEPS)
        state = {name: t if "init" in name else part * t for name, t in last.items()}
        torch.save(state, folder / f"step_{step}")
    return folder


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two models that others trained, HRM and a series of TRM's; data is made."""
    step = next((PEERS / "hrm_sudoku").glob("step_*"))
    entries = {
        "HRM": {"source": str(step), "variant": "hrm"},
        "TRM": {"source": str(series(tmp_path / "trm"))},
    }
    monkeypatch.chdir(tmp_path)
    none: dict[str, Any] = {"variants": [], "seeds": [], "probes": PROBES}
    params = with_others(entries, **none)
    params["maze"] |= none
    YAML(typ="safe").dump(params, PARAMS)
    run("data", "sudoku")
    return tmp_path


PARAMS = Path("params.yaml")
PROBES = {
    "rollout": {"variants": [], "seeds": [], "puzzles": 4},
    "freeze": {"variants": [], "seeds": [], "puzzles": 4},
    "attention": {"variants": [], "seeds": [], "puzzles": 4, "segments": [2, 15]},
    "emergence": {"variants": [], "seeds": [], "puzzles": 4, "segments": [2, 15]},
}
ALL = ("import", "evaluate", "rollout", "freeze", "attention", "emergence")


def test_what_was_imported_is_stated_by_hash(study: Path) -> None:
    run("import", "sudoku", "HRM")
    folder = paths.run("sudoku", "HRM", 0)
    found = json.loads((folder / "import.json").read_text(encoding="utf-8"))
    step = next((PEERS / "hrm_sudoku").glob("step_*"))
    assert found["sha256"] == hashlib.sha256(step.read_bytes()).hexdigest()
    assert (found["variant"], found["steps"], found["source"]) == ("hrm", [], str(step))
    model = air.load(folder / "model.safetensors")
    assert found["parameters"] == model.parameter_count
    assert (model.origin["name"], model.origin["seed"]) == ("HRM", 0)
    assert snapshot_steps(folder / "snapshots.safetensors") == []


def test_a_folder_of_steps_becomes_snapshots(study: Path) -> None:
    run("import", "sudoku", "TRM")
    file = paths.run("sudoku", "TRM", 0) / "snapshots.safetensors"
    assert snapshot_steps(file) == list(STEPS)
    assert json.loads(file.with_name("import.json").read_text(encoding="utf-8"))["steps"] == [
        {
            "step": step,
            "sha256": hashlib.sha256((study / f"trm/step_{step}").read_bytes()).hexdigest(),
        }
        for step in STEPS
    ]
    last = torch.load(study / f"trm/step_{STEPS[-1]}", weights_only=True)
    head = next(tensor for name, tensor in last.items() if name.endswith("lm_head.weight"))
    for place, step in enumerate(STEPS, start=1):
        kept = load_snapshot(file, step).lm_head.weight
        assert torch.equal(kept, (place / len(STEPS) * head).bfloat16().float())
    run("emergence", "sudoku", "TRM")
    text = (paths.run("sudoku", "TRM", 0) / "emergence.json").read_text(encoding="utf-8")
    assert [entry["step"] for entry in json.loads(text)["snapshots"]] == list(STEPS)


def test_what_it_was_trained_on_is_not_known(study: Path) -> None:
    """Our training puzzles are none of its own, so that solving them would say nothing."""
    run("import", "sudoku", "TRM")
    run("evaluate", "sudoku", "TRM")
    text = (paths.run("sudoku", "TRM", 0) / "evaluation.json").read_text(encoding="utf-8")
    assert "exact_accuracy" in json.loads(text)
    assert "train_exact_accuracy" not in json.loads(text)


def test_a_branch_that_has_moved_is_read_where_it_was(study: Path) -> None:
    """Until its commit, which lies with the unfinished trainings, is forgotten."""
    params = YAML(typ="safe").load(PARAMS)
    params["sudoku"] |= {"imported": ["TRM"], "checkpoints": {"TRM": {"source": "hub:made/trm"}}}
    YAML(typ="safe").dump(params, PARAMS)
    models, moved = Models(), "f" * 40
    models.repos["made/trm"][moved] = models.repos["made/trm"][REVISION]

    def commit() -> str:
        command = ("-m", "air.cli", "import", "sudoku", "TRM")
        ended = run_beside_hub(models.address, study / "home", *command, folder=study)
        assert ended.returncode == 0, ended.stderr
        text = (paths.run("sudoku", "TRM", 0) / "import.json").read_text(encoding="utf-8")
        return str(json.loads(text)["hub"]["commit"])

    with serving(models):
        assert commit() == REVISION
        models.refs["main"] = moved
        assert commit() == REVISION
        paths.revision_of_model("sudoku", "TRM").unlink()
        assert commit() == moved


def test_the_command_takes_a_folder_too(study: Path) -> None:
    said = run("import-checkpoint", "trm", "--output", "kept/model.safetensors")
    assert snapshot_steps(Path("kept/snapshots.safetensors")) == list(STEPS), said
    assert air.load(Path("kept/snapshots.safetensors"), step=200).variant.name == "Lx_H"


def test_steps_of_two_trainings_are_refused(study: Path) -> None:
    torch.save(
        {
            name: tensor + 1 if "init" in name else tensor
            for name, tensor in torch.load(study / "trm/step_10", weights_only=True).items()
        },
        study / "trm/step_10",
    )
    said = refused("import", "sudoku", "TRM")
    assert "step_10: its" in said
    assert "not checkpoints of one training" in said
    assert not paths.run("sudoku", "TRM", 0).exists()


@pytest.mark.slow
def test_every_stage_and_page_takes_them(study: Path) -> None:
    """Runs of other lengths beside one another: 6 sub-steps and 16 segments, 21 and 16."""
    shutil.copytree(ROOT / "reports", "reports", ignore=shutil.ignore_patterns("published", "html"))
    run("check")
    for name in ("HRM", "TRM"):
        for stage in ALL:
            run(stage, "sudoku", name)
    run("data", "maze")
    run("claims")
    found = Study.load()
    assert set(found.rollouts("sudoku")) == {("HRM", 0), ("TRM", 0)}
    assert list(found.emergences("sudoku")) == [("TRM", 0)]
    reason = "its source is one checkpoint, not a folder of several steps"
    assert found.skipped("sudoku", "emergence") == {("HRM", 0): reason}
    assert read_arrays(paths.run("sudoku", "HRM", 0) / "emergence.npz") == {}
    (line,) = sections.skipped(found, "sudoku", "emergence")
    assert str(line.html) == f"<p>Not measured: HRM ({reason}).</p>"
    text = str(sections.undecided(found, "sudoku").html)
    for name, run_ in (("HRM", ("HRM", 0)), ("TRM", ("TRM", 0))):
        updates = found.sizes("sudoku", run_).updates_per_segment
        assert f"egment has {updates} sub-steps, a rollout 16 segments ({name})" in text
    # of the task that is left out, no run has a number of sub-steps
    without = sections.wording("maze").undecided
    assert str(sections.undecided(found, "maze").html).endswith(f"shows {without}.</p>")
    table = imported.imported(found)[-1]
    assert "recursive_reasoning.trm" in str(table.html)
    judged = dict(claims.read())
    by_number = {claim.number: entry for claim, entry in judged.items()}
    for number in ("C2", "C3", "C5"):
        on_sudoku = by_number[number].on("sudoku")
        assert isinstance(on_sudoku, ByRun)
        assert on_sudoku.verdict == "not run"
        assert set(on_sudoku.others()) == {"HRM", "TRM"}
        assert on_sudoku.ours() == []
        assert "HRM" in on_sudoku.evidence()
    for number in ("C1", "X1", "X2", "X3"):
        assert by_number[number].on("sudoku").verdict == "not run"
    for page in ("index", "accuracy", "rollouts", "freeze", "attention", "emergence", "training"):
        run("report", page)
        html = Path(f"reports/html/{page}.html").read_text(encoding="utf-8")
        assert "TRM" in html, page
    run("explore")
    assert "HRM" in Path("reports/html/explore.html").read_text(encoding="utf-8")


def test_probes_that_are_not_asked_for_measure_nothing(study: Path) -> None:
    params = YAML(typ="safe").load(PARAMS)
    params["sudoku"]["checkpoints"]["HRM"]["probes"] = ["freeze"]
    YAML(typ="safe").dump(params, PARAMS)
    run("import", "sudoku", "HRM")
    for probe in ("rollout", "attention", "emergence"):
        run(probe, "sudoku", "HRM")
        text = (paths.run("sudoku", "HRM", 0) / f"{probe}.json").read_text(encoding="utf-8")
        assert json.loads(text) == {"skipped": f"{probe} is not among its probes"}
    run("freeze", "sudoku", "HRM")
    text = (paths.run("sudoku", "HRM", 0) / "freeze.json").read_text(encoding="utf-8")
    assert json.loads(text)["puzzles"] == 4


def test_a_model_of_others_decides_no_verdict(
    small_study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same verdicts with and without one, whatever it shows."""
    monkeypatch.chdir(shutil.copytree(small_study, tmp_path / "study"))
    before = judge()
    checked = json.loads(paths.PARAMS_CHECKED.read_text(encoding="utf-8"))
    section = checked["params"]["sudoku"]
    section |= {"imported": ["theirs"], "checkpoints": {"theirs": {"source": "x"}}}
    paths.PARAMS_CHECKED.write_text(json.dumps(checked), encoding="utf-8")
    ours, theirs = (paths.run("sudoku", name, 0) for name in ("Lx_H", "theirs"))
    shutil.copytree(ours, theirs)
    measures = json.loads((theirs / "freeze.json").read_text(encoding="utf-8"))
    for effect in measures["effects"].values():  # the reverse of what ours does
        effect["content_changes"] *= -1
        effect["interval"] = [effect["content_changes"] + away for away in (-1, 1)]
    (theirs / "freeze.json").write_text(json.dumps(measures), encoding="utf-8")
    assert judge() == before
    found = {claim.number: entry for claim, entry in claims.read()}["C3"].on("sudoku")
    assert isinstance(found, ByRun)
    mine, other = found.ours()[0], found.others()["theirs"]
    assert other.freeze_H.content_changes == -mine.freeze_H.content_changes
    assert [whose for whose, _ in found.apart()] == ["", "theirs: "]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"imported": ["HRM", "HRM"]}, "sudoku.imported: HRM is listed twice"),
        ({"imported": ["Lx_H"]}, "sudoku.imported: Lx_H is a variant of our own"),
        ({"imported": ["a b"]}, "sudoku.imported: 'a b' is not allowed: letters, digits"),
        ({"imported": ["other"]}, "sudoku.imported: other has no entry in checkpoints"),
        ({"checkpoints": {"HRM": {}}}, "sudoku.checkpoints.HRM.source: this key is missing"),
        ({"checkpoints": {"HRM": {"source": "hub:x"}}}, "hub:x: is not a valid hub address"),
        (
            {"checkpoints": {"HRM": {"source": "x", "variant": "other"}}},
            "sudoku.checkpoints.HRM.variant: other is not a variant",
        ),
        (
            {"checkpoints": {"HRM": {"source": "x", "probes": ["look"]}}},
            "sudoku.checkpoints.HRM.probes: look is none of rollout, freeze, attention, emergence",
        ),
    ],
)
def test_what_cannot_be_imported_is_one_sentence(
    changes: dict[str, Any], said: str, study: Path
) -> None:
    params = YAML(typ="safe").load(PARAMS)
    params["sudoku"] |= {"imported": ["HRM"], **changes}
    YAML(typ="safe").dump(params, PARAMS)
    with pytest.raises(UserError, match=re.escape(said)):
        load_params()


def test_a_name_that_the_study_does_not_have_is_refused(study: Path) -> None:
    assert refused("import", "sudoku", "other") == (
        "params.yaml: sudoku.imported: other is not there; the list is HRM, TRM"
    )
    assert "other" in refused("evaluate", "sudoku", "other")


def test_a_folder_without_checkpoints_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="contains no step_N checkpoint"):
        find(str(tmp_path))


@pytest.mark.slow
def test_both_engines_import_measure_and_show(tmp_path: Path) -> None:
    """From the hub on this machine, beside a model that is trained; then nothing is left to do."""
    folder = scratch(tmp_path / "study", "smoke")
    models = Models()
    steps = series(tmp_path / "steps")
    models.repos["made/trm"][REVISION] = {
        f"run/{path.name}": path.read_bytes() for path in steps.iterdir()
    }
    step = next((PEERS / "hrm_sudoku").glob("step_*"))
    entries = {
        "HRM": {"source": str(step)},
        "TRM": {"source": "hub:made/trm@main:run"},
    }
    params = with_others(entries, variants=["Lx_H"])
    for probe in params["sudoku"]["probes"].values():
        probe["variants"] = ["Lx_H"]
    params["maze"] |= {"variants": [], "seeds": [], "probes": PROBES}
    YAML(typ="safe").dump(params, folder / "params.yaml")
    made = {}
    with serving(models):
        hub = ("env", f"HF_ENDPOINT={models.address}", f"HF_HOME={tmp_path / 'home'}")
        for engine in (("snakemake", "--cores", "2"), ("dvc", "repro")):
            ended = call(folder, *hub, *engine)
            assert ended.returncode == 0, ended.stdout + ended.stderr
            files = [
                *folder.glob("results/sudoku/*RM/seed0/*"),
                *folder.glob("reports/html/*.html"),
            ]
            made[engine[0]] = {
                path.relative_to(folder).as_posix(): path.read_bytes()
                for path in files
                if path.name != "cost.html"
            }
        again = call(folder, *hub, "snakemake", "-n", "--cores", "2")
        assert "Nothing to be done" in again.stdout + again.stderr
    assert made["snakemake"] == made["dvc"]
    pages = {name: text for name, text in made["dvc"].items() if name.endswith(".html")}
    assert b"made/trm" in pages["reports/html/accuracy.html"]
    origin = json.loads(made["dvc"]["results/sudoku/TRM/seed0/import.json"])
    assert origin["hub"]["commit"] == REVISION
    assert [kept["step"] for kept in origin["steps"]] == list(STEPS)
