"""One DAG, two engines, no drift: what Snakemake knows of a stage, DVC knows, and the other way."""

import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from air.params import load_params
from air.reporting.pages import PAGES
from air.tasks.registry import TASKS
from tests.conftest import ROOT
from tests.pipeline import Stage, call, dvc_stages, edges, scratch, snakemake_stages


def differences(folder: Path) -> list[str]:
    """What one engine knows and the other does not, one line each."""
    ours = {"snakemake": snakemake_stages(folder), "dvc": dvc_stages(folder)}
    lines = []
    for one, other in (("snakemake", "dvc"), ("dvc", "snakemake")):
        for name, stage in ours[one].items():
            if name not in ours[other]:
                lines.append(f"only {one} has {name}")
                continue
            twin: Stage = ours[other][name]
            lines += [f"only in {one}, {name} reads {file}" for file in stage.reads - twin.reads]
            lines += [f"only in {one}, {name} makes {file}" for file in stage.makes - twin.makes]
        lines += [f"only in {one}: {edge}" for edge in edges(ours[one]) - edges(ours[other])]
    return lines


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
def test_both_engines_have_the_same_dag(tmp_path: Path, preset: str) -> None:
    folder = scratch(tmp_path, preset)
    assert differences(folder) == []
    params = load_params(folder / "params.yaml")
    sections = [params.task(task) for task in TASKS]
    runs = sum(len(section.variants) * len(section.seeds) for section in sections)
    trained = [name for name in dvc_stages(folder) if name.startswith("train_")]
    assert len(trained) == runs


def test_the_workflow_is_the_same_from_either_snakefile(tmp_path: Path) -> None:
    """That of users, at the top, and that of tools, which look in workflow/."""
    folder = scratch(tmp_path, "smoke")
    stages = snakemake_stages(folder)
    assert "claims" in stages
    assert stages == snakemake_stages(folder, "--snakefile", "workflow/Snakefile")


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("workflow/rules/train.smk", '        data="data/{task}/train.safetensors",\n', "",
         "only in dvc, train_sudoku@Lx_H-0 reads data/sudoku/train.safetensors"),
        ("workflow/rules/train.smk", 'code("train_sudoku")', 'code("evaluate_sudoku")',
         "only in dvc, train_sudoku@Lx_H-0 reads src/air/training/loop.py"),
        ("dvc.yaml", "      - data/${item.task}/statistics.json\n", "",
         "only in snakemake, data@sudoku makes data/sudoku/statistics.json"),
        ("dvc.yaml", "notebook: [index, data,", "notebook: [index,",
         "only snakemake has report@data"),
        ("workflow/rules/common.smk", '(("freeze.json",), probes.freeze),', "",
         "only dvc has freeze_sudoku@Lx_H-0"),
    ],
    ids=["input", "code", "output", "stage", "target"],
)  # fmt: skip
def test_drift_is_found(tmp_path: Path, file: str, old: str, new: str, message: str) -> None:
    folder = scratch(tmp_path, "smoke")
    text = (folder / file).read_text(encoding="utf-8")
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    assert message in differences(folder)


def test_checked_parameters_are_made_in_every_clone(tmp_path: Path) -> None:
    """In git they would pass for new, whatever params.yaml says: file times mean nothing there."""
    folder = scratch(tmp_path, "smoke")
    listed = subprocess.run(
        ["git", "ls-files", "results"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "results/params.json" not in listed.stdout.split()
    (folder / "results").mkdir(exist_ok=True)
    (folder / "results/params.json").write_text("{}")
    ended = subprocess.run(
        ["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True, check=True
    )
    assert ended.stdout == ""  # and nobody adds them by mistake


def test_snakemake_refuses_bad_parameters_and_overrides(tmp_path: Path) -> None:
    folder = scratch(tmp_path, "smoke")
    override = call(folder, "snakemake", "-n", "--config", "seed=1")
    assert override.returncode == 2
    assert "both engines read params.yaml" in override.stderr
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("heads: 4", "heads: 5", 1))
    ended = call(folder, "snakemake", "-n")
    assert ended.returncode == 2
    assert "sudoku.model: hidden_size 32 with heads 5" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_menu_lists_every_notebook() -> None:
    notebooks = {path.stem for path in (ROOT / "reports").glob("*.ipynb")}
    assert {*PAGES, "cost"} == notebooks


def test_notebooks_are_clean() -> None:
    import nbformat

    for path in (ROOT / "reports").glob("*.ipynb"):
        for cell in nbformat.read(path, as_version=4).cells:
            if cell.cell_type == "code":
                assert cell.outputs == []
                assert cell.execution_count is None
                assert not re.search(r"\b(def|class|for|if|while)\b.*:\s*$", cell.source, re.M)


def test_the_lock_fits_every_python_that_is_supported() -> None:
    """By what the installed packages say; `make check-lock` asks the registry."""
    from importlib.metadata import distribution, metadata

    from packaging.specifiers import SpecifierSet

    supported = re.findall(r":: (3\.\d+)", "\n".join(metadata("air").get_all("Classifier", [])))
    oldest = metadata("air")["Requires-Python"].removeprefix(">=")
    assert supported[0] == oldest
    pins = [line.split("==") for line in (ROOT / "requirements.lock").read_text().split()]
    for name, version in pins:
        there = distribution(name)
        assert there.version.split("+")[0] == version
        fits = SpecifierSet(there.metadata["Requires-Python"] or "")
        for python in supported:
            assert fits.contains(f"{python}.0"), (name, python)


def test_conda_has_the_locked_versions() -> None:
    from ruamel.yaml import YAML

    environment = YAML(typ="safe").load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert pip == (ROOT / "requirements.lock").read_text(encoding="utf-8").split()
    assert "torch==2.13.0" in pip


def test_a_cluster_is_asked_for_gpus_where_there_are_to_be_some(tmp_path: Path) -> None:
    folder = scratch(tmp_path, "smoke")

    def asked() -> dict[str, str]:
        profile = ("--profile", "workflow/profiles/slurm")
        said = call(folder, "snakemake", "-n", *profile, "--quiet", "host").stdout
        return dict(
            re.findall(r"^rule (\w+):\n(?:    .*\n)*?    resources: .*\bgpu=(\d+)", said, re.M)
        )

    rules = ("train", "evaluate", "rollout", "freeze", "attention", "emergence", "explore")
    assert asked() == dict.fromkeys(rules, "0")
    params = folder / "params.yaml"
    text = params.read_text().replace("device: cpu", "device: cuda")
    params.write_text(text.replace("    steps: 250\n", "    steps: 250\n    processes: 8\n"))
    assert asked() == dict.fromkeys(rules, "1") | {"train": "8"}


def test_what_a_killed_dvc_noted_of_its_files_stops_no_call(tmp_path: Path) -> None:
    folder = scratch(tmp_path, "smoke")
    noted = folder / ".dvc/tmp/rwlock"
    noted.parent.mkdir(exist_ok=True)
    noted.write_text('{"write": {"')  # the process died here
    ended = call(folder, "snakemake", "--cores", "1", "results/params.json")
    assert ended.returncode == 0, ended.stderr
    assert (folder / "results/params.json").is_file()


# a job of the workflow, killed by `kill -9` when DVC has begun to write dvc.lock
KILLED_WRITING = """
import os, runpy, signal, sys
from ruamel.yaml import YAML

def dump(self, data, stream):
    stream.write("schema:")
    stream.flush()
    os.kill(os.getpid(), signal.SIGKILL)

YAML.dump = dump
sys.argv[1:] = ["--stage", "second"]
runpy.run_path("workflow/scripts/repro.py", run_name="__main__")
"""


def test_a_job_killed_while_dvc_writes_leaves_a_lock_that_the_next_can_read(tmp_path: Path) -> None:
    assert call(tmp_path, "dvc", "init", "--quiet", "--no-scm").returncode == 0
    script = tmp_path / "workflow/scripts/repro.py"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "workflow/scripts/repro.py", script)
    stages = [f"  {name}: {{cmd: echo > {name}, outs: [{name}]}}" for name in ("first", "second")]
    (tmp_path / "dvc.yaml").write_text("\n".join(["stages:", *stages]))
    lock, job = tmp_path / "dvc.lock", (sys.executable, str(script), "--stage")
    assert call(tmp_path, *job, "first").returncode == 0
    before = lock.read_bytes()
    assert b"first" in before
    assert call(tmp_path, sys.executable, "-c", KILLED_WRITING).returncode == -signal.SIGKILL
    assert lock.read_bytes() == before
    ended = call(tmp_path, *job, "second")
    assert ended.returncode == 0, ended.stderr
    assert call(tmp_path, "dvc", "status").stdout == "Data and pipelines are up to date.\n"
    assert b"first" in lock.read_bytes()
    assert b"second" in lock.read_bytes()


def test_a_job_that_dies_without_a_word_leaves_no_log_of_an_earlier_one(tmp_path: Path) -> None:
    script = tmp_path / "workflow/scripts/repro.py"
    script.parent.mkdir(parents=True)
    shutil.copy(ROOT / "workflow/scripts/repro.py", script)
    log = tmp_path / "logs/stage.log"
    log.parent.mkdir()
    log.with_suffix(".kept").write_text("all went well")
    dying = f"""
import runpy, sys
main = runpy.run_path({str(script)!r})["main"]
main.__globals__["sys"] = type("Other", (), {{"executable": "/bin/false"}})
main.__globals__["os"].write = None  # it says nothing
print(main("stage", __import__("pathlib").Path({str(log)!r})))
"""
    assert call(tmp_path, sys.executable, "-c", dying).stdout == "1\n"
    assert log.read_text() == "stage: ended with exit code 1, and said nothing\n"
    assert not log.with_suffix(".restored").exists()
