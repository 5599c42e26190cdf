"""The whole study in scratch clones: both engines, nothing run twice, nothing lost when killed."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from moto.server import ThreadedMotoServer

from air.reporting.captions import CAPTIONS
from tests.pipeline import call, dvc_stages, environment, scratch

pytestmark = pytest.mark.slow

SNAKEMAKE = ("snakemake", "--cores", "2")
MODEL, CLAIMS = "model.safetensors", "reports/claims.json"


def run(folder: Path, *command: str) -> str:
    """Run a command that must succeed; everything it said."""
    ended = call(folder, *command)
    said = ended.stdout + ended.stderr
    assert ended.returncode == 0, said[-3000:]
    return said


def results(folder: Path) -> dict[str, bytes]:
    """What the stages of DVC make, by path: data, models, metrics, pages and figures."""
    made = {name for stage in dvc_stages(folder).values() for name in stage.makes}
    files = [
        file
        for name in made
        for file in ([folder / name] if (folder / name).is_file() else (folder / name).rglob("*"))
    ]
    return {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in files
        if file.is_file() and file.name != ".snakemake_timestamp"
    }


def changed_stages(folder: Path) -> set[str]:
    """Stages that DVC would run because something they depend on has changed."""
    status = json.loads(call(folder, "dvc", "status", "--json").stdout)
    return {
        name for name, reasons in status.items() for reason in reasons if "changed deps" in reason
    }


def planned_rules(folder: Path) -> set[str]:
    """Rules that Snakemake would run, from the job table of a dry run."""
    said = run(folder, "snakemake", "-n")
    table = re.findall(r"^(\w+) +\d+$", said, re.MULTILINE)
    return set(table) - {"all", "total"}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone in which Snakemake has run the smoke study."""
    folder = scratch(tmp_path_factory.mktemp("snakemake"), "smoke")
    run(folder, *SNAKEMAKE)
    return folder


@pytest.fixture
def restored(finished: Path) -> Iterator[Path]:
    """``finished`` for a test that edits its code or parameters; put back afterwards."""
    yield finished
    subprocess.run(["git", "checkout", "-q", "src", "params.yaml"], cwd=finished, check=True)


def test_the_study_is_whole(finished: Path) -> None:
    made = {file for stage in dvc_stages(finished).values() for file in stage.makes}
    assert {file for file in made if not (finished / file).exists()} == set()
    evaluation = json.loads((finished / "results/maze/Lx_H/seed0/evaluation.json").read_text())
    assert len(evaluation["exact_accuracy_by_segment"]) == 8
    assert 0.5 < evaluation["cell_accuracy"] <= 1
    claims = json.loads((finished / "reports/claims.json").read_text())
    verdicts = {claim["verdict"] for claim in claims.values()}
    assert list(claims) == ["C1", "C2", "C3", "C4", "C5", "C6", "X1", "X2", "X3"]
    assert verdicts <= {"holds", "fails", "inconclusive", "not run"}
    for page in (finished / "reports/html").glob("*.html"):
        html = page.read_text(encoding="utf-8")
        assert "Traceback" not in html
        assert "study = Study.load()" not in html  # no code cells
        assert not re.search(r"(src|href)=\"https?://", html)  # stands alone
    logs = [path for path in (finished / "logs").rglob("*.log") if path.stem != "cost"]
    assert len(logs) == len(dvc_stages(finished))
    assert len(list((finished / "logs/benchmark").rglob("*.tsv"))) == len(logs)
    assert [path for path in logs if not path.read_text()] == []  # every stage has really run
    assert not list((finished / ".resume").glob("*"))


def test_both_engines_show_the_figures(finished: Path) -> None:
    """Snakemake's report holds every figure with its caption; DVC plots training and depth."""
    run(finished, "snakemake", "--report", "report.html")
    report = (finished / "report.html").read_text(encoding="utf-8")
    figures = list((finished / "reports/html/files").glob("*/*.svg"))
    assert len(figures) > 15
    for figure in figures:
        assert figure.name in report
        assert CAPTIONS[figure.name.split("-")[0]].split(".")[0] in report
    shown = json.loads(run(finished, "dvc", "plots", "show", "--json"))["data"]
    assert sum(name.endswith("training.csv") for name in shown) == 4
    assert sum(name.endswith("depth.csv") for name in shown) == 4
    (finished / "report.html").unlink()


def test_a_bundle_can_be_checked_by_others(finished: Path, tmp_path: Path) -> None:
    main = (sys.executable, "-c", "from air.cli import main; main()")
    said = run(finished, *main, "bundle", "--output", str(tmp_path / "study.zip"))
    assert re.search(r"study.zip written: \d+ files, \d+\.\d MB", said)
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(tmp_path / "study.zip") as archive:
        archive.extractall(unpacked)
    for name, content in results(finished).items():
        assert (unpacked / name).read_bytes() == content
    graph = json.loads((unpacked / "ro-crate-metadata.json").read_text())["@graph"]
    entities = {entity["@id"]: entity for entity in graph}
    stage = entities["#stage-freeze_maze@Lx_H-0"]
    assert entities[stage["instrument"]["@id"]]["name"] == "air freeze maze Lx_H --seed 0"
    assert {"@id": "results/maze/Lx_H/seed0/model.safetensors"} in stage["object"]
    assert stage["result"] == [{"@id": "results/maze/Lx_H/seed0/freeze.json"}] or stage[
        "result"
    ] == {"@id": "results/maze/Lx_H/seed0/freeze.json"}
    model = (finished / "results/maze/Lx_H/seed0/model.safetensors").read_bytes()
    entity = entities["results/maze/Lx_H/seed0/model.safetensors"]
    assert entity["sha256"] == hashlib.sha256(model).hexdigest()

    # without anything of ours but the command
    assert "nothing wrong" in run(tmp_path, *main, "bundle", "--check", "study.zip")
    (unpacked / "reports/claims.json").write_text("{}")
    (unpacked / "LICENSE").unlink()
    (unpacked / "more.txt").write_text("more")
    shutil.make_archive(str(tmp_path / "other"), "zip", unpacked)
    ended = call(tmp_path, *main, "bundle", "--check", "other.zip")
    assert ended.returncode == 1
    assert "reports/claims.json: does not have the hash that the bundle lists" in ended.stdout
    assert "LICENSE: is not in the archive" in ended.stdout
    assert "more.txt: is not listed" in ended.stdout


def test_nothing_is_done_twice(finished: Path) -> None:
    assert "Nothing to be done" in run(finished, *SNAKEMAKE)
    assert "up to date" in run(finished, "dvc", "status")
    said = run(finished, "dvc", "repro")
    assert "Running stage" not in said
    assert "up to date" in said


def test_what_is_deleted_comes_back_without_training(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("deleted") / "study"
    shutil.copytree(finished, folder, symlinks=True)
    shutil.rmtree(folder / "logs")
    shutil.rmtree(folder / "data")
    (folder / "results/maze/Lx_H/seed0/model.safetensors").unlink()
    (folder / "results/sudoku/Lx_H/seed0/freeze.json").unlink()
    run(folder, *SNAKEMAKE)
    assert results(folder) == results(finished)
    assert not [path for path in (folder / "logs").rglob("*.log") if "steps" in path.read_text()]


def test_what_came_with_git_is_computed_also_after_an_interruption(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Not believed: DVC alone would take a metric for made if the model came out the same."""
    clone = tmp_path_factory.mktemp("interrupted") / "study"
    run(finished.parent, "git", "clone", "-q", str(finished), str(clone))
    kept = [*finished.glob("results/*/*/*/*.json"), finished / "dvc.lock", finished / CLAIMS]
    for file in kept:
        target = clone / file.relative_to(finished)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(file, target)
    shutil.copy(finished / "params.yaml", clone / "params.yaml")
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    run(clone, *git, "add", "-A")
    run(clone, *git, "commit", "-qm", "results")
    run(clone, "snakemake", "--cores", "1", "results/params.json")  # and then it was stopped
    run(clone, *SNAKEMAKE)
    assert list(clone.glob("logs/freeze/**/*.log"))
    assert not list((clone / "logs").rglob("*.restored"))
    assert results(clone) == results(finished)
    assert "nothing to commit" in run(clone, "git", "status")
    # from now on DVC is believed
    run(clone, *SNAKEMAKE, "--forcerun", "freeze")
    assert list(clone.glob("logs/freeze/**/*.restored"))


def test_a_model_of_another_run_is_refused(restored: Path) -> None:
    folder = restored / "results/sudoku"
    theirs = (folder / "Lx_H/seed0/model.safetensors").read_bytes()
    (folder / "Lx_H/seed0/model.safetensors").write_bytes(
        (folder / "Lx_Hx/seed0/model.safetensors").read_bytes()
    )
    main = "from air.cli import main; main()"
    ended = call(restored, sys.executable, "-c", main, "evaluate", "sudoku", "Lx_H")
    (folder / "Lx_H/seed0/model.safetensors").write_bytes(theirs)
    assert ended.returncode == 2
    assert "holds the model of ('sudoku', 'Lx_Hx', 0)" in ended.stderr


def test_both_engines_make_the_same_bytes(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = scratch(tmp_path_factory.mktemp("dvc"), "smoke")
    said = run(other, "dvc", "repro")
    assert "Running stage 'train_maze@Lx_Hx-0'" in said
    ours, theirs = results(finished), results(other)
    assert set(ours) == set(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    # Snakemake after DVC has the page on cost to make; forced, every job ends at once
    assert planned_rules(other) == {"cost"}
    run(other, *SNAKEMAKE)
    assert "Nothing to be done" in run(other, *SNAKEMAKE)
    run(other, *SNAKEMAKE, "--forceall")
    assert not [path for path in (other / "logs").rglob("*.log") if "steps" in path.read_text()]
    assert results(other) == ours


def test_what_reruns_when_code_changes(restored: Path) -> None:
    stages = set(dvc_stages(restored))

    def of(*kinds: str) -> set[str]:
        return {name for name in stages if re.split("[_@]", name)[0] in kinds}

    probes = ("rollout", "freeze", "attention", "emergence")
    edited = {
        "reporting/tables.py": of("report"),
        "reporting/claims/c2_commitment.py": of("claims", "report"),
        "sources/generate.py": of("check", "data"),
        "evaluation/accuracy.py": of("evaluate"),
        "probes/freezing.py": of("freeze", "emergence"),
        "training/loop.py": of("train"),
        "devices.py": of("check", "train", "evaluate", "explore", *probes),
        "model/layers.py": of("train", "evaluate", "explore", *probes),
        "tasks/words.py": of("report", "explore"),
        "tasks/registry.py": set(),
        "predictions.py": set(),
        "tasks/maze.py": {
            name
            for name in of("check", "data", "train", "evaluate", "explore", *probes)
            if "_sudoku" not in name
        },
    }
    for name, wanted in edited.items():
        path = restored / "src/air" / name
        path.touch()
        assert "up to date" in run(restored, "dvc", "status")
        path.write_text(path.read_text() + "\n# edited\n")
        assert changed_stages(restored) == wanted, name
        if name == "reporting/tables.py":
            assert planned_rules(restored) == {"report", "cost"}
        subprocess.run(["git", "checkout", "-q", "src"], cwd=restored, check=True)


def test_a_word_in_a_generator_trains_nothing(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The data is made anew; since its bytes are the same, models and accuracies are restored.

    (Rollouts, attention and emergence run again: of their outputs Snakemake deletes one, and DVC's
    run cache keeps no stage that has another in git.)
    """
    folder = tmp_path_factory.mktemp("word") / "study"
    shutil.copytree(finished, folder, symlinks=True)
    path = folder / "src/air/sources/generate.py"
    path.write_text(path.read_text() + "\n# edited\n")
    run(folder, *SNAKEMAKE)
    ran = {
        log.relative_to(folder / "logs").parts[0].removesuffix(".log")
        for log in (folder / "logs").rglob("*.log")
        if not log.with_suffix(".restored").exists()
        and log.stat().st_mtime > path.stat().st_mtime
        and log.stem != "cost"
    }
    assert {"check", "data"} <= ran <= {"check", "data", "rollout", "attention", "emergence"}
    assert results(folder) == results(finished)


def test_one_tasks_change_runs_its_chain_alone(
    finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("changed") / "study"
    shutil.copytree(finished, folder, symlinks=True)
    git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run([*git, "add", "-A"], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "results"], cwd=folder, check=True)
    params = folder / "params.yaml"
    before, after = params.read_text().split("\nmaze:")
    params.write_text(before + "\nmaze:" + after.replace("steps: 250", "steps: 60", 1))
    planned = run(folder, "snakemake", "-n", "--quiet", "host")
    assert (
        re.findall(r"^rule train:\n.*\n    output: results/(\w+)/", planned, re.M) == ["maze"] * 2
    )
    said = run(folder, "dvc", "repro")
    ran = set(re.findall(r"Running stage '(.+?)'", said))
    assert {name for name in ran if "sudoku" in name} == set()
    assert {"train_maze@Lx_H-0", "freeze_maze@Lx_Hx-0", "claims", "report@index"} <= ran
    diff = run(folder, "dvc", "metrics", "diff")
    assert re.search(r"results/maze/Lx_H/seed0/evaluation.json +cell_accuracy", diff)
    assert "results/sudoku" not in diff


@pytest.fixture(scope="module")
def shared(
    request: pytest.FixtureRequest, finished: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Path]:
    """``finished``, committed and pushed to a remote: a folder, or an S3 server on this machine."""
    folder = tmp_path_factory.mktemp("source") / "study"
    shutil.copytree(finished, folder, symlinks=True)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as opened:
        if request.param == "folder":
            storage = str(tmp_path_factory.mktemp("remote"))
            run(folder, "dvc", "remote", "add", "--default", "storage", storage)
        else:
            address = opened.enter_context(s3_server())
            run(folder, "dvc", "remote", "add", "--default", "storage", "s3://bucket/study")
            run(folder, "dvc", "remote", "modify", "storage", "endpointurl", address)
            for key, value in (("access_key_id", "known"), ("secret_access_key", "secret")):
                run(folder, "dvc", "remote", "modify", "--local", "storage", key, value)
            patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        run(folder, "dvc", "push", "--run-cache")
        git = ["git", "-c", "user.name=test", "-c", "user.email=test@localhost"]
        subprocess.run([*git, "add", "-A"], cwd=folder, check=True)
        subprocess.run([*git, "commit", "-q", "-m", "results"], cwd=folder, check=True)
        # credentials have stayed in .dvc/config.local; a clone has its own, here in the environment
        assert subprocess.run(["git", "grep", "secret_access", ".dvc"], cwd=folder).returncode
        patch.setenv("AWS_ACCESS_KEY_ID", "known")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield folder


@contextmanager
def s3_server() -> Iterator[str]:
    """The address of a server that speaks S3 and has one bucket."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        urlopen(Request(f"http://{host}:{port}/bucket", method="PUT")).close()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("shared", "engine"),
    [("folder", "dvc"), ("s3", "dvc"), ("s3", "snakemake")],
    indirect=["shared"],
)
def test_a_clone_with_a_remote_trains_nothing(
    finished: Path, shared: Path, engine: str, tmp_path: Path
) -> None:
    clone = tmp_path / "study"
    subprocess.run(["git", "clone", "-q", str(shared), str(clone)], check=True)
    assert not (clone / "data").exists()
    if engine == "snakemake":
        run(clone, *SNAKEMAKE)
        # no stage ran a command: what `air` says while it works stands in no log
        logs = (clone / "logs").rglob("*.log")
        assert [path.name for path in logs if "seed 0" in path.read_text()] == []
    else:
        run(clone, "dvc", "pull", "--run-cache")
        assert "Running stage" not in run(clone, "dvc", "repro")
    assert results(clone) == results(finished)
    assert (clone / "reports/html/index.html").is_file()
    assert "up to date" in run(clone, "dvc", "status")


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT], ids=lambda blow: blow.name)
def test_a_stopped_call_is_taken_up_by_the_next(
    finished: Path, tmp_path_factory: pytest.TempPathFactory, blow: signal.Signals
) -> None:
    folder = scratch(tmp_path_factory.mktemp("stopped"), "smoke")
    with (folder / "first.txt").open("w") as output:
        first = subprocess.Popen(
            SNAKEMAKE,
            cwd=folder,
            env=environment(folder),
            stdout=output,
            stderr=output,
            start_new_session=True,
            # Ctrl-C is heard also if the tests were started where it is ignored
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
    deadline = time.monotonic() + 300

    def until(true: Callable[[], object]) -> None:
        while not true():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)

    until(lambda: list(folder.glob("logs/train/*/*/*.log")))
    second = call(folder, *SNAKEMAKE)
    assert second.returncode != 0
    assert "Another snakemake call is at work in this folder" in second.stderr
    until(lambda: in_training(folder))
    if blow == signal.SIGINT:
        os.killpg(first.pid, blow)  # Ctrl-C reaches the jobs too
    else:
        first.kill()  # kill -9 leaves them behind
    first.wait(timeout=60)
    said = run(folder, *SNAKEMAKE)
    if blow == signal.SIGKILL:
        assert "Stopping the jobs that a killed snakemake call left behind" in said
    logs = [path.read_text() for path in folder.glob("logs/train/*/*/*.log")]
    assert any("going on from step" in log for log in logs)
    assert results(folder) == results(finished)
    assert "up to date" in run(folder, "dvc", "status")


def in_training(folder: Path) -> bool:
    """Whether a training has made some of its steps, and is not at its end."""
    logs = folder / "logs/train"
    return any(
        re.search(r": \d+/250 steps", log.read_text())
        and not (folder / "results" / log.relative_to(logs).with_suffix("") / MODEL).exists()
        for log in logs.glob("*/*/*.log")
    )
