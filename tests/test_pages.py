"""Every page at the paper's scale, at the smallest, and with runs missing: whole and readable."""

import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from air import paths
from air.params import load_params
from air.reporting.pages import PAGES
from tests.conftest import ROOT
from tests.pipeline import call, scratch
from tests.study import forget, make_up, verdicts

pytestmark = pytest.mark.slow

yaml = YAML(typ="safe")
SCALES = ("paper", "least")
MADE = (*PAGES, "cost")


def configure(folder: Path, scale: str) -> None:
    """params.yaml of a scale: the paper's, or one variant of the smoke study, without Maze."""
    content = yaml.load(
        ROOT / "presets" / ("paper-generated.yaml" if scale == "paper" else "smoke.yaml")
    )
    for task in ("sudoku", "maze"):
        section = content[task]
        if scale == "paper":
            section["evaluation"]["puzzles"] = 4
            for probe in section["probes"].values():
                probe["memory_gib"] = 1.0
        elif task == "maze":
            for runs in (section, *section["probes"].values()):
                runs |= {"variants": [], "seeds": []}
        section["explore"] = {"variants": [], "seeds": []}  # of models that are made up
    yaml.dump(content, folder / "params.yaml")


@pytest.fixture(scope="module")
def studies(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A made-up study of each scale with its claims and pages; the least one has gaps."""
    made = {}
    for scale in SCALES:
        folder = scratch(tmp_path_factory.mktemp(scale), "smoke")
        configure(folder, scale)
        least = scale == "least"  # in it a verdict can be decided: intervals need five puzzles
        make_up(folder, load_params(folder / "params.yaml"), puzzles=6 if least else 4)
        if least:
            forget(folder, "sudoku", "Lx_Hx", 0)
            shutil.rmtree(folder / "data/maze")
        for command in ("claims", "explore"):
            ended = call(folder, "air", command)
            assert ended.returncode == 0, ended.stderr
        with ThreadPoolExecutor(2) as pool:
            for ended in pool.map(lambda name: call(folder, "air", "report", name), MADE):  # noqa: B023
                assert ended.returncode == 0, ended.stderr
        made[scale] = folder / "reports/html"
    return made


class Page(HTMLParser):
    """What a page refers to, and what it calls its parts."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.ids: list[str] = []
        self.loads: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        attributes = dict(attrs)
        if attributes.get("id"):
            self.ids.append(attributes["id"] or "")
        if tag == "a":
            self.links.append(attributes.get("href") or "")
        elif tag == "img":
            self.images.append(attributes)
        elif tag in ("script", "iframe") or (tag == "link" and attributes.get("rel") != "icon"):
            self.loads.append(tag)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", MADE)
def test_a_page_stands_alone(scale: str, name: str, studies: dict[str, Path]) -> None:
    path = studies[scale] / f"{name}.html"
    assert path.stat().st_size < 5e6
    html, page = path.read_text(encoding="utf-8"), Page(path)
    assert "Traceback" not in html
    words = re.sub(r'data:image[^"]*', "", html.split("<main>")[1])
    assert not re.search(r"\bnan\b", words)
    assert page.loads == []
    assert len(page.ids) == len(set(page.ids))
    for image in page.images:
        assert (image["src"] or "").startswith("data:image/svg+xml,")
        assert len(image["alt"] or "") > 20
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        else:
            assert (path.parent / link).is_file(), link
    beside = {file.name for file in (path.parent / "files" / name).iterdir()}
    figures = sum(file.endswith(".svg") for file in beside)
    alone = [image for image in page.images if image.get("class") != "strip"]  # of claims
    assert figures == len(alone) == sum(file.endswith(".pdf") for file in beside)
    for file in (path.parent / "files" / name).glob("*.pdf"):
        assert file.read_bytes().startswith(b"%PDF")
    for file in (path.parent / "files" / name).glob("*.tex"):
        assert "\\begin{tabular}" in file.read_text(encoding="utf-8")
        assert file.with_suffix(".csv").is_file()


def test_missing_runs_are_named_and_all_else_stays(studies: dict[str, Path]) -> None:
    pages = studies["least"]
    claims = verdicts(pages.parents[1])
    assert claims["C1"]["sudoku"]["verdict"] == "not run"
    assert claims["C1"]["maze"]["verdict"] == "not run"
    assert claims["C3"]["sudoku"]["verdict"] == "fails"  # of Lx_H, which is there
    assert claims["C3"]["maze"]["verdict"] == "not run"
    assert claims["C4"]["verdict"] == "not run"
    accuracy = (pages / "files/accuracy/accuracy-sudoku-injection.csv").read_text()
    rows = {line.split(",")[0]: line.split(",") for line in accuracy.splitlines()}
    assert rows["Lx_Hx"][3:5] == ["0", "not run"]
    assert rows["Lx_H"][3] == "1"
    for name in ("data", "training", "rollouts", "freeze", "attention", "emergence"):
        html = (pages / f"{name}.html").read_text(encoding="utf-8")
        assert html.count("This study leaves out Maze.") == 1
        assert "for Maze yet" not in html
    assert "No variant of this experiment" in (pages / "accuracy.html").read_text()
    index = (pages / "index.html").read_text()
    assert index.count("It leaves out Maze.") == 1
    assert "<h4>Sudoku" in index and "<h4>Maze" not in index  # no column of it
    assert ">Sudoku</th>" in index and ">Maze</th>" not in index
    assert "1 per variant, 2 variants<" in index
    for scale, probed in (("paper", 0), ("least", 1)):  # the tasks whose snapshots were probed
        emergence = (studies[scale] / "emergence.html").read_text(encoding="utf-8")
        assert emergence.count('class="missing"') == 2 - probed
        without = ("No snapshot measurements for Maze yet.", "This study leaves out Maze.")[probed]
        assert without in emergence
        assert ("emergence-sudoku" in emergence, "strip-sudoku-Lx_H" in emergence) == (probed,) * 2


def test_a_cost_page_is_published_if_something_was_measured(studies: dict[str, Path]) -> None:
    folder = studies["least"].parents[1]
    least = Path("logs/benchmark/check.tsv")
    pages = folder / paths.PUBLISHED / load_params(folder / "params.yaml").preset / "html"
    for measured in (False, True):
        if measured:
            (folder / least).parent.mkdir(parents=True)
            (folder / least).write_text("s\tmax_rss\n1.0\t70.0\n", encoding="utf-8")
        ended = call(folder, "air", "publish")
        assert ended.returncode == 0, ended.stderr
        assert (pages / "index.html").is_file()
        assert (pages / "cost.html").is_file() == measured


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", MADE)
def test_a_page_opens_in_a_browser(
    scale: str, name: str, studies: dict[str, Path], browser: Any, tmp_path: Path
) -> None:
    """No error on the console, no broken picture, nothing too wide, nothing inaccessible."""
    from axe_playwright_python.sync_playwright import Axe

    said: list[str] = []
    page = browser.new_page(viewport={"width": 1100, "height": 900})
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if "http" in request.url else None)
    page.goto(f"file://{studies[scale]}/{name}.html")
    assert page.evaluate("Array.from(document.images).every(image => image.naturalWidth > 0)")
    assert page.title().endswith("AIR, reproduced")
    assert len(page.screenshot(path=tmp_path / f"{name}.png", full_page=True)) > 10_000
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        found = [one for one in Axe().run(page).response["violations"] if one["impact"] != "minor"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
    page.set_viewport_size({"width": 390, "height": 800})  # a phone
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert said == []
    page.close()
