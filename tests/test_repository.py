"""What stands at the top of the repository agrees with the code and with itself."""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

import air
from tests.conftest import ROOT
from tests.pipeline import environment


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def content(name: str) -> Any:
    return YAML(typ="safe").load(text(name))


CITATION = content("CITATION.cff")
RELEASES = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\d{4}-\d\d-\d\d)$", text("CHANGELOG.md"), re.M)


def test_the_version_is_the_same_wherever_it_stands() -> None:
    """It is said in src/air/__init__.py, where the build takes it from."""
    assert CITATION["version"] == air.__version__
    assert f"version = {{{air.__version__}}}" in text("README.md")
    assert RELEASES[0] == (air.__version__, str(CITATION["date-released"]))
    assert re.search(r'^version = "', text("pyproject.toml"), re.M) is None


def test_the_changelog_goes_from_the_newest_to_the_oldest() -> None:
    versions = [tuple(map(int, version.split("."))) for version, _ in RELEASES]
    assert len(versions) > 1
    assert versions == sorted(set(versions), reverse=True)
    assert [date for _, date in RELEASES] == sorted((d for _, d in RELEASES), reverse=True)


def test_the_paper_to_be_cited_is_the_one_that_the_readme_names() -> None:
    paper = CITATION["preferred-citation"]
    (number,) = (entry["value"].removeprefix("arXiv:") for entry in paper["identifiers"])
    readme = text("README.md")
    assert f"eprint = {{{number}}}" in readme
    assert f"title  = {{{paper['title']}}}" in readme
    authors = " and ".join(author["family-names"] for author in paper["authors"])
    assert f"author = {{{authors}}}" in readme
    assert paper["url"].endswith(number)


def test_the_jobs_on_github_run_what_ci_runs() -> None:
    parts = content(".github/workflows/ci.yml")["jobs"]["ci"]["strategy"]["matrix"]
    made = [name for part in parts["include"] for name in part["commands"].split(" && ")]
    assert {part["part"] for part in parts["include"]} == set(parts["part"])
    assert sorted(made) == sorted(re.findall(r"^make .+", text(".ci/run"), re.M))


@pytest.mark.parametrize("form", ["bug", "claim"])
def test_an_issue_form_is_one_that_github_shows(form: str) -> None:
    body = content(f".github/ISSUE_TEMPLATE/{form}.yml")["body"]
    assert {entry["type"] for entry in body} <= {"input", "textarea", "dropdown"}
    ids = [entry["id"] for entry in body]
    assert len(set(ids)) == len(ids)
    assert any(entry.get("validations", {}).get("required") for entry in body)
    for entry in body:
        assert entry["attributes"]["label"]
        assert (entry["type"] == "dropdown") == ("options" in entry["attributes"])


@pytest.mark.parametrize(
    "name", ["CONTRIBUTING.md", "CHANGELOG.md", "config/README.md", "models/README.md"]
)
def test_links_lead_somewhere(name: str) -> None:
    """Sphinx checks those of the README and of docs/."""
    links = re.findall(r"\]\((?!\w+:)([^)#]+)", text(name))
    assert links
    for link in links:
        assert (ROOT / name).parent.joinpath(link).exists(), link


def test_commands_of_the_guide_are_there() -> None:
    makefile = text("Makefile")
    targets = set(re.findall(r"`make ([a-z-]+)`", text("CONTRIBUTING.md")))
    assert len(targets) > 5
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.M), target
    for path in re.findall(r"`(?:pytest -n 2 |python )?([a-z/_]+\.py)`", text("CONTRIBUTING.md")):
        assert (ROOT / path).is_file(), path


HOOKS = {hook["id"]: hook for hook in content(".pre-commit-config.yaml")["repos"][0]["hooks"]}


def notebook(path: Path, **ran: object) -> None:
    cell = {"cell_type": "code", "id": "a", "metadata": {}, "source": "1", "outputs": []}
    cells = [cell | {"execution_count": None} | ran]
    form = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    path.write_text(json.dumps(form), encoding="utf-8")


BAD: dict[str, tuple[str, Callable[[Path], object]]] = {
    "ruff": ("bad.py", lambda path: path.write_text("import os\n")),
    "ruff-format": ("bad.py", lambda path: path.write_text("a  =  1\n")),
    "snakefmt": ("bad.smk", lambda path: path.write_text("rule a:\n  output: 'b'\n")),
    "large-files": ("bad.bin", lambda path: path.write_bytes(b"0" * (2048 * 1024 + 1))),
    "notebooks": ("bad.ipynb", lambda path: notebook(path, execution_count=1)),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_a_hook_passes_what_is_good_and_stops_what_is_not(hook: str, tmp_path: Path) -> None:
    """Each as pre-commit runs it: its entry, then the names of files."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    name, write = BAD[hook]
    good = {
        ".py": "tests/conftest.py", ".smk": "workflow/rules/train.smk",
        ".ipynb": "reports/freeze.ipynb", ".bin": "LICENSE",
    }[Path(name).suffix]  # fmt: skip

    def run(path: Path) -> int:
        command = [*shlex.split(HOOKS[hook]["entry"]), str(path)]
        ended = subprocess.run(
            command, cwd=tmp_path, env=environment(ROOT), capture_output=True, text=True
        )
        return ended.returncode

    assert run(ROOT / good) == 0
    write(tmp_path / name)
    assert run(tmp_path / name) != 0


def test_the_catalog_of_workflows_finds_what_it_wants() -> None:
    usage = content(".snakemake-workflow-catalog.yml")["usage"]
    assert set(usage) == {"mandatory-flags", "software-stack-deployment", "report"}
    # of environment.yml alone no job can run: `air` is installed from the clone
    assert usage["software-stack-deployment"] == {"conda": False}
    assert (ROOT / "workflow/Snakefile").is_file()
    assert (ROOT / "config/README.md").is_file()
