"""What is published with the project is what its committed metrics give."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from air import paths, scales
from air.cli import app
from air.files import UserError, read_json
from air.params import load_params
from air.reporting import figures
from air.reporting.claims import judge
from air.reporting.display import Display, data_uri
from air.reporting.pages import PAGES, provenance
from air.reporting.study import Study
from air.results.attention import AttentionMeasures
from air.results.evaluation import Evaluation
from air.results.freeze import FreezeMeasures
from air.results.record import Record
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


def test_pages_name_the_data_by_hash(published: Path) -> None:
    """Also where the puzzles themselves are not kept."""
    said = provenance()["data"]
    for task in measured(published):
        statistics = read_json(paths.statistics(task), Statistics)
        for split in ("train", "test"):
            assert f"{task} {split} {statistics.splits.of(split).sha256[:8]}" in said
    for page in set(PAGES) - {"cost"}:  # which is as old as what it measured
        html = (published / "html" / f"{page}.html").read_text(encoding="utf-8")
        assert said in html, page


def test_published_parameters_are_the_preset(published: Path) -> None:
    kept = json.loads((published / paths.PARAMS_CHECKED).read_text(encoding="utf-8"))["params"]
    preset = ROOT / "presets" / f"{published.name}.yaml"
    expected = load_params(preset).model_dump(mode="json")
    for task in TASKS:  # published before these keys, which change no number, were there
        if "emergence" not in kept[task]["probes"]:
            del expected[task]["probes"]["emergence"]
            for key in ("snapshots", "snapshot_precision"):
                del expected[task]["train"][key]
        if "imported" not in kept[task]:
            del expected[task]["imported"], expected[task]["checkpoints"]
        if "explore" not in kept[task]:
            del expected[task]["explore"]
        elif "megabytes" not in kept[task]["explore"]:
            del expected[task]["explore"]["megabytes"]
    assert kept == expected


def test_published_claims_come_from_the_metrics(published: Path) -> None:
    study = Study.load()
    kept = json.loads((published / paths.CLAIMS).read_text(encoding="utf-8"))
    judged = {name: claim.content() for name, claim in judge(study).items()}
    for name in judged.keys() - kept.keys():  # published before this claim was made
        assert judged.pop(name)["verdict"] == "not run"
    assert judged == kept
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
def test_files_that_are_read_and_written_again_are_the_same(name: str, form: type[Record]) -> None:
    """Their types say all that they hold, in its order."""
    files = sorted((ROOT / paths.PUBLISHED).rglob(f"{name}.json"))
    assert files
    for path in files:
        content = json.dumps(read_json(path, form).content(), indent=2, ensure_ascii=False)
        assert content + "\n" == path.read_text(encoding="utf-8"), path


def test_published_figures_come_from_the_metrics(published: Path) -> None:
    study = Study.load()
    drawn: list[Display] = []
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
        if study.emergences(task):
            drawn.append(figures.emergence(study, task))
    drawn.append(figures.accuracy(study, "injection"))
    pages = "".join(path.read_text(encoding="utf-8") for path in published.glob("html/*.html"))
    shows = set(re.findall('src="(.*?)"', pages))
    # pages from before < and > were encoded have them as they are, or escaped
    shows = {re.sub("&gt;|>", "%3E", re.sub("&lt;|<", "%3C", address)) for address in shows}
    for shown in drawn:
        assert data_uri(shown.files["svg"]) in shows, shown.name
    for path in published.glob("html/files/*/*.svg"):
        assert data_uri(path.read_text(encoding="utf-8")) in shows, path


def test_the_readme_shows_published_figures() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    pictures = re.findall(r"!\[(.+?)\]\((.+?)\)", text, re.DOTALL)
    assert len(pictures) >= 3
    for caption, path in pictures:
        assert (ROOT / path).is_file()
        assert any(folder.name in caption for folder in PUBLISHED)  # at which scale


def rows_of(page: str) -> dict[str, list[str]]:
    """The rows of the table of studies in README.md or docs/scales.md, by how they begin."""
    text = (ROOT / page).read_text(encoding="utf-8")
    table = text.split(scales.BEGIN)[1].split(scales.END)[0]
    rows = [line.strip("|").split("|") for line in table.strip().splitlines()]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in rows}


@pytest.mark.parametrize("page", ["README.md", "docs/scales.md"])
def test_the_tables_of_studies_are_what_the_command_prints(
    page: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If not: air scales --write."""
    monkeypatch.chdir(ROOT)
    text = (ROOT / page).read_text(encoding="utf-8")
    assert f"{scales.BEGIN}\n\n{scales.tables()[Path(page)]}\n\n{scales.END}" in text


@pytest.mark.parametrize("page", ["README.md", "docs/scales.md"])
def test_the_tables_tell_the_published_verdicts_and_what_is_solved(page: str) -> None:
    rows = rows_of(page)
    columns = {
        path: next(place for place, head in enumerate(rows[""]) if f"[`{path.name}`]" in head)
        for path in PUBLISHED
    }
    assert len(rows[""]) == len(set(columns.values())) == len(PUBLISHED)
    claimed = {name.split()[0]: cells for name, cells in rows.items() if name}
    for path, column in columns.items():

        def shown(cells: list[str], task: str, column: int = column) -> str:
            parts = cells[column].replace("*", "").split("<br>")
            of_task = [part for part in parts if part.startswith(f"{TITLES[task]} ")]
            return of_task[0].removeprefix(f"{TITLES[task]} ") if of_task else parts[0]

        claims = json.loads((path / paths.CLAIMS).read_text(encoding="utf-8"))
        for task in measured(path):
            for name, claim in claims.items():
                if task in claim:
                    assert shown(claimed[name], task) == claim[task]["verdict"]
            params = json.loads((path / paths.PARAMS_CHECKED).read_text(encoding="utf-8"))
            runs = (paths.run(task, "Lx_H", seed) for seed in params["params"][task]["seeds"])
            files = [path / run / "evaluation.json" for run in runs]
            solved = [json.loads(file.read_text())["exact_accuracy"] for file in files]
            share = f"{round(100 * sum(solved) / len(solved))} %"
            assert shown(rows["test puzzles that Lx_H solves"], task) == share


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda path: path.name)
def test_a_published_study_is_small_and_links_to_what_is_there(folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 2e6 * len(measured(folder))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for path in (folder / "html").rglob("*.*"):
        if path.suffix != ".html":  # pages, and the figures that the README shows
            assert path.relative_to(ROOT).as_posix() in readme
            continue
        for link in re.findall(r' href="([^"#:]+)"', path.read_text(encoding="utf-8")):
            assert (path.parent / link).is_file(), f"{path}: {link}"


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
    pages = tmp_path / "reports/html"
    shutil.copytree(PUBLISHED[0] / "html", pages, ignore=shutil.ignore_patterns("files"))
    links = '<p>Figure. <a href="files/data/a.pdf" aria-label="a">PDF</a></p><a href="#C1">C1</a>'
    menu = '<nav><a href="data.html">Puzzles</a>\n<a href="explore.html">Explorer</a></nav>'
    page = f"<main>{menu}{links}</main><footer></footer>"
    (pages / "index.html").write_text(page, encoding="utf-8")
    for name in {*PAGES, "explore"} - {path.stem for path in pages.glob("*.html")}:
        (pages / f"{name}.html").write_text(name, encoding="utf-8")  # newer than the study
    for name in ("data/a.pdf", "data/a.svg", "data/b.svg"):
        file = pages / "files" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name, encoding="utf-8")
    readme = f"![a](reports/published/{PUBLISHED[0].name}/html/files/data/a.svg)"
    (tmp_path / "README.md").write_text(readme, encoding="utf-8")
    shutil.copyfile(PUBLISHED[0] / paths.CLAIMS, tmp_path / paths.CLAIMS)
    app(["publish"], standalone_mode=False)
    copy = tmp_path / paths.PUBLISHED / PUBLISHED[0].name
    index = (copy / "html/index.html").read_text(encoding="utf-8")
    assert re.findall('href="(.*?)"', index) == ["data.html", "#C1"]
    assert "<p>Figure.</p>" in index
    assert "archived copy" in index
    assert [path.name for path in (copy / "html/files").rglob("*.*")] == ["a.svg"]
    assert not (copy / "html/explore.html").exists()
    assert (copy / paths.CLAIMS).read_bytes() == (PUBLISHED[0] / paths.CLAIMS).read_bytes()
