"""What is published with the project is what its committed metrics give."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from air import paths
from air.cli import app
from air.files import UserError, read_json
from air.params import load_params
from air.reporting import figures
from air.reporting.claims import judge
from air.reporting.shown import Shown
from air.reporting.study import Study
from air.results.attention import AttentionMeasures
from air.results.evaluation import Evaluation
from air.results.form import Form
from air.results.freeze import FreezeMeasures
from air.results.rollout import RolloutMeasures
from air.results.statistics import Statistics
from air.tasks.registry import TASKS
from tests.conftest import ROOT, TITLES

PUBLISHED = sorted(
    path.parents[1] for path in (ROOT / paths.PUBLISHED).glob("*/reports/claims.json")
)


def measured(folder: Path) -> list[str]:
    """The tasks that a published study has runs of: one may have been left out."""
    return [task for task in TITLES if any((folder / "results" / task).glob("*/*/evaluation.json"))]


def test_the_default_study_is_mini() -> None:
    mini = (ROOT / "presets/mini.yaml").read_text(encoding="utf-8")
    assert (ROOT / "params.yaml").read_text(encoding="utf-8") == mini


@pytest.fixture(params=PUBLISHED, ids=lambda path: path.name)
def published(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which the published metrics are the study's."""
    folder: Path = request.param
    shutil.copytree(folder / "results", tmp_path / "results")
    shutil.copytree(folder / "data", tmp_path / "data")
    (tmp_path / "reports").mkdir()
    shutil.copyfile(ROOT / paths.PAPER, tmp_path / paths.PAPER)
    monkeypatch.chdir(tmp_path)
    return folder


def test_published_parameters_are_the_preset(published: Path) -> None:
    told = json.loads((published / paths.PARAMS_CHECKED).read_text(encoding="utf-8"))["params"]
    preset = ROOT / "presets" / f"{published.name}.yaml"
    expected = load_params(preset).model_dump(mode="json")
    for task in TASKS:  # published before these keys, which change no number, were there
        if "emergence" not in told[task]["probes"]:
            del expected[task]["probes"]["emergence"]
            for key in ("snapshots", "snapshot_precision"):
                del expected[task]["train"][key]
        if "explore" not in told[task]:
            del expected[task]["explore"]
    assert told == expected


def test_published_claims_come_from_the_metrics(published: Path) -> None:
    study = Study.load()
    told = json.loads((published / paths.CLAIMS).read_text(encoding="utf-8"))
    assert {name: claim.content() for name, claim in judge(study).items()} == told
    for task in TASKS:
        assert len(study.runs(task)) == len(study.chosen(task))  # every run has been evaluated


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("evaluation", Evaluation),
        ("rollout", RolloutMeasures),
        ("freeze", FreezeMeasures),
        ("attention", AttentionMeasures),
        ("statistics", Statistics),
    ],
)
def test_files_that_are_read_and_written_again_are_the_same(name: str, form: type[Form]) -> None:
    """Their types say all that they hold, in its order."""
    files = sorted((ROOT / paths.PUBLISHED).rglob(f"{name}.json"))
    assert files
    for path in files:
        content = json.dumps(read_json(path, form).content(), indent=2, ensure_ascii=False)
        assert content + "\n" == path.read_text(encoding="utf-8"), path


def test_published_figures_come_from_the_metrics(published: Path) -> None:
    study = Study.load()
    drawn: list[Shown] = []
    for task in measured(published):
        drawn += [
            figures.rollout_curves(study, task),
            figures.rollout_inside(study, task),
            figures.freeze(study, task),
            figures.freeze_transitions(study, task),
            figures.attention(study, task),
            *figures.training(study, task),
            *figures.depth(study, task),
        ]
    drawn.append(figures.accuracy(study, "injection"))
    for shown in drawn:
        kept = next((published / "html/files").glob(f"*/{shown.name}.svg"))
        assert kept.read_text(encoding="utf-8") == shown.files["svg"], shown.name


def test_the_readme_shows_published_figures() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(.+?)\]\((.+?)\)", text, re.DOTALL)
    assert len(pictures) >= 3
    for caption, path in pictures:
        assert (ROOT / path).is_file()
        assert any(folder.name in caption for folder in PUBLISHED)  # at which scale


def test_the_readme_tells_the_published_verdicts() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line[1:-1].split("|") for line in text.splitlines() if line.startswith("|")]
    rows = {(cells[0].split() or [""])[0]: [c.strip() for c in cells[1:]] for cells in lines}
    columns = [tuple(title.split(": ")) for title in rows["claim"]]  # such as "mini: Sudoku"
    assert sorted(columns) == sorted(
        (path.name, TITLES[task]) for path in PUBLISHED for task in measured(path)
    )
    for path in PUBLISHED:
        claims = json.loads((path / paths.CLAIMS).read_text(encoding="utf-8"))
        for name, claim in claims.items():
            told = dict(zip(columns, rows[name], strict=True))
            for task in measured(path):
                assert told[path.name, TITLES[task]] == claim.get(task, {}).get("verdict", "")


def test_the_readme_tells_what_is_solved() -> None:
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = re.findall(
        r"`([\w-]+)`\S*: [^`]*?Lx_H solves (\d+) % of the test Sudokus(?: and (\d+) %)?", text
    )
    shown = {preset: shares for preset, *shares in told}
    assert set(shown) == {path.name for path in PUBLISHED}
    for path in PUBLISHED:
        shares = shown[path.name]
        assert len(list(filter(None, shares))) == len(measured(path))
        for task, share in zip(measured(path), shares, strict=False):
            files = (path / "results" / task / "Lx_H").glob("seed*/evaluation.json")
            solved = [json.loads(file.read_text())["exact_accuracy"] for file in files]
            assert round(100 * sum(solved) / len(solved)) == int(share)


def test_publishing_wants_every_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(PUBLISHED[0] / "results", tmp_path / "results")
    (tmp_path / "reports").mkdir()
    shutil.copyfile(ROOT / paths.PAPER, tmp_path / paths.PAPER)
    with pytest.raises(UserError, match=r"index\.html: there is no such page"):
        app(["publish"], standalone_mode=False)
    assert not (tmp_path / paths.PUBLISHED).exists()
    shutil.copytree(PUBLISHED[0] / "html", tmp_path / "reports/html")
    shutil.copyfile(PUBLISHED[0] / paths.CLAIMS, tmp_path / paths.CLAIMS)
    app(["publish"], standalone_mode=False)
    copy = tmp_path / paths.PUBLISHED / PUBLISHED[0].name
    assert (copy / "html/index.html").is_file()
    assert (copy / paths.CLAIMS).read_bytes() == (PUBLISHED[0] / paths.CLAIMS).read_bytes()
