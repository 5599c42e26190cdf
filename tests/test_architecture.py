"""Arrows between the packages run one way, and code that needs torch is asked for late."""

import ast
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from air import paths
from air.checkpoint import save_model
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.params import Params, TaskParams
from air.stages import code
from air.tasks.registry import TASKS
from tests.conftest import ROOT

PACKAGE = ROOT / "src" / "air"
BASE = {"files", "hub", "progress", "reading", "writing"}  # what every package may use
ALLOWED = {
    "tasks": {"tasks"},
    "results": {"results"},
    "sources": {"sources", "tasks", "results"},
    "model": {"model"},
    "training": {"training", "model", "tasks"},
    "foreign": {"foreign", "model"},
    "evaluation": {"evaluation", "model", "tasks", "results"},
    "probes": {"probes", "model", "tasks", "results"},
    "reporting": {"reporting", "results", "tasks", "paths", "load"},
    "explorer": {"explorer", "model", "tasks"},
}
STAGES = [path.stem for path in (PACKAGE / "stages").glob("*.py")]
STAGES = [name for name in STAGES if name not in ("__init__", "code", "inputs", "skipping")]


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


def depends_on(stage: str, task: str) -> set[Path]:
    """The modules of ours that dvc.yaml names as dependencies of a stage."""
    stages = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
    entry = stages.get(stage) or stages[f"{stage.rstrip('_')}_{task}"]
    deps = [dep.replace("${task}", task) for dep in entry["deps"]]
    paths = [ROOT / dep for dep in deps if dep.startswith("src/")]
    assert all(path.exists() for path in paths)
    files = {file for path in paths for file in ([path] if path.is_file() else path.rglob("*"))}
    return {file for file in files if file.suffix == ".py"}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_depends_on_what_can_change_its_bytes_and_nothing_else(
    stage: str, task: str
) -> None:
    once = stage in ("check", "data", "claims", "report", "explore")  # for all tasks
    wanted = set(code.modules(stage, None if once else task))
    if stage == "report":  # a page is made by what its notebook imports, too
        for notebook in (ROOT / "reports").glob("*.ipynb"):
            cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
            source = "".join("".join(c["source"]) + "\n" for c in cells if c["cell_type"] == "code")
            for name in re.findall(r"from air\.reporting import (.+)", source):
                for module in name.split(", "):
                    wanted |= set(code.imported(PACKAGE / f"reporting/{module}.py"))
    assert depends_on(stage, task) == wanted


def test_a_task_s_words_and_other_tasks_make_no_run_stale() -> None:
    words, maze = PACKAGE / "tasks/words.py", PACKAGE / "tasks/maze.py"
    for stage in STAGES:
        assert (words in depends_on(stage, "sudoku")) == (stage in ("report", "explore"))
    for stage in ("train", "evaluate", "rollout", "freeze", "attention", "emergence", "import_"):
        assert maze not in depends_on(stage, "sudoku")
        assert maze in depends_on(stage, "maze")
    assert code.digest("train", "sudoku") != code.digest("train", "maze")


def test_parameters_are_values() -> None:
    """Code reached through them alone is no dependency, so there is none but of checks."""
    for section in (Params, TaskParams):
        methods = [name for name, value in vars(section).items() if callable(value)]
        assert [name for name in methods if not name.startswith(("_", "model_"))] == (
            ["task"] if section is Params else []
        )


def test_the_explorer_depends_on_every_file_that_its_page_is_put_together_from() -> None:
    listed = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]["explore"]["deps"]
    parts = {path for path in (PACKAGE / "explorer").iterdir() if path.is_file()}
    parts |= {PACKAGE / "reporting/page.css", PACKAGE / "reporting/page.html.j2"}
    files = {path.relative_to(ROOT).as_posix() for path in parts if path.suffix != ".py"}
    assert files == {dep for dep in listed if dep.startswith("src/") and "." in dep} - {
        dep for dep in listed if dep.endswith(".py")
    }


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_imports_when_it_runs_is_known(stage: str) -> None:
    """The modules really loaded are among those found by reading, or stated to be without effect.

    Parameters are checked whole, so that the sections of other stages are loaded, too.
    """
    loaded = {
        name
        for name in modules_after(f"import air.stages.{stage}")
        if name == "air" or name.startswith("air.")
    }
    configurable = set(code.imported(PACKAGE / "params.py", set()))
    known = {*code.modules(stage), *configurable}
    known |= {code.path_of(name) for name in code.WITHOUT_EFFECT}
    assert {code.path_of(name) for name in loaded} <= known


def test_an_import_is_found_wherever_it_stands(tmp_path: Path) -> None:
    file = tmp_path / "a.py"
    file.write_text(
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    from air.reporting import pages\n"
        "def late() -> None:\n    import air.model.variants\n    from air.probes import config\n"
    )
    found = {path.relative_to(PACKAGE).as_posix() for path in code.imported(file) if path != file}
    assert found == {
        "model/__init__.py", "model/variants.py", "probes/__init__.py", "probes/config.py"
    }  # fmt: skip


def test_no_probe_figure_or_page_names_a_task() -> None:
    files = [*(PACKAGE / "probes").rglob("*.py"), *(PACKAGE / "reporting").glob("*.py")]
    sources = {str(path): path.read_text(encoding="utf-8") for path in files}
    for notebook in (ROOT / "reports").glob("*.ipynb"):
        cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        sources[notebook.name] = "\n".join(code)
    assert len(sources) > 20
    for name, source in sources.items():
        found = {n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)}
        assert not found & {"sudoku", "maze", "Sudoku", "Maze"}, name


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
    assert ended.stderr.startswith("the copy's"), ended.stderr


def test_checking_parameters_needs_no_torch() -> None:
    assert not modules_after("import air.params, air.cli") & {"torch", "matplotlib", "pandas"}


def test_reading_a_model_does_not_import_the_compiler() -> None:
    file = paths.shipped("mini", "sudoku", "Lx_H")
    found = modules_after(f"import air; air.load({str(file)!r})")
    assert "torch" in found
    assert "torch._dynamo" not in found


def test_model_and_training_need_few_packages() -> None:
    """A machine with torch, numpy, safetensors and pydantic can train."""
    loaded = modules_after("import air.checkpoint, air.training.loop, air.evaluation.accuracy")
    assert not loaded & {"pandas", "matplotlib", "typer", "ruamel", "dvc", "snakemake"}


def test_a_model_and_the_gpu_benchmark_need_no_more(
    tmp_path: Path, small_model: ModelConfig
) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = project["dependencies"] + project["optional-dependencies"]["pipeline"]
    names = {re.split(r"[<>=.]", entry)[0].replace("-", "_").lower() for entry in listed}
    needed = {"torch", "numpy", "safetensors", "pydantic"}
    needed |= {"jinja2", "filelock", "tqdm"}  # torch imports them, if they are there
    assert {"ruamel", "typer", "dvc", "pandas"} < names - needed
    path = tmp_path / "model.safetensors"
    save_model(AIR(small_model, Variant.parse("Lx_H"), 6, 16), path, {})
    statements = (
        f"import air; air.load({str(path)!r})",
        "sys.path.insert(0, 'benchmarks'); import gpu",
    )
    for statement in statements:
        loaded = {module.split(".")[0].lower() for module in modules_after(statement)}
        assert "torch" in loaded
        assert not loaded & (names - needed), statement
