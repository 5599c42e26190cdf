"""Arrows between the packages run one way, and code that needs torch is asked for late."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "air"
BASE = {"files", "progress"}  # what every package may use
ALLOWED = {
    "tasks": {"tasks"},
    "model": {"model"},
    "training": {"training", "model", "tasks"},
    "probes": {"probes", "model", "tasks"},
    "reporting": {"reporting", "paths"},
}


def imported(path: Path) -> set[str]:
    """Parts of the package that a file imports: ``tasks`` of ``from air.tasks.task import x``."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "air":
            parts = (node.module or "").split(".")
            names |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {a.name.split(".")[1] for a in node.names if a.name.startswith("air.")}
    return names


@pytest.mark.parametrize("folder", ALLOWED)
def test_arrows_run_one_way(folder: str) -> None:
    files = list((PACKAGE / folder).rglob("*.py"))
    assert files
    for path in files:
        assert imported(path) <= ALLOWED[folder] | BASE, path


def modules_after(statement: str) -> set[str]:
    code = f"import sys; {statement}; print(' '.join(sys.modules))"
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    return set(ended.stdout.split())


def test_a_copy_of_the_project_runs_its_own_code(tmp_path: Path) -> None:
    """As DVC's experiments in folders of their own, which all use one installed command."""
    ignore = shutil.ignore_patterns("__pycache__")
    shutil.copytree(PACKAGE, tmp_path / "src/air", ignore=ignore)
    shutil.copy(ROOT / "params.yaml", tmp_path)
    cli = tmp_path / "src/air/cli.py"
    cli.write_text(cli.read_text(encoding="utf-8").replace("params.yaml is valid", "the copy's"))
    code = "from air.cli import main; main()"
    ended = subprocess.run(
        [sys.executable, "-c", code, "check"], capture_output=True, text=True, cwd=tmp_path
    )
    assert ended.stdout.startswith("the copy's"), ended.stderr


def test_checking_parameters_needs_no_torch() -> None:
    assert not modules_after("import air.params, air.cli") & {"torch", "matplotlib", "pandas"}


def test_model_and_training_need_few_packages() -> None:
    """A machine with torch, numpy, safetensors and pydantic can train."""
    loaded = modules_after("import air.checkpoint, air.training.loop, air.training.evaluate")
    assert not loaded & {"pandas", "matplotlib", "typer", "ruamel", "dvc", "snakemake"}
