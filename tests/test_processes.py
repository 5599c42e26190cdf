"""Training that is killed, and training in several processes: `air train` as a user runs it."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT

pytestmark = pytest.mark.slow

TRAIN = (sys.executable, "-m", "air.cli", "train", "sudoku", "Lx_H")


def project(folder: Path, **changes: object) -> Path:
    """A folder with small parameters and their data, in which `air` can run."""
    text = (ROOT / "presets" / "smoke.yaml").read_text(encoding="utf-8")
    sudoku, maze = text.split("\nmaze:\n")
    lines = []
    for line in sudoku.splitlines():
        key = line.split(":")[0].strip()
        lines.append(f"{line.split(':')[0]}: {changes.pop(key)}" if key in changes else line)
        if line == "  train:":
            more = [key for key in ("processes",) if key in changes]
            lines += [f"    {key}: {changes.pop(key)}" for key in more]
    assert not changes, changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text("\n".join(lines) + "\nmaze:\n" + maze, encoding="utf-8")
    command = [sys.executable, "-m", "air.cli", "data", "sudoku"]
    subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder


def train(folder: Path, timeout: float = 600) -> str:
    ended = subprocess.run(TRAIN, cwd=folder, capture_output=True, text=True, timeout=timeout)
    assert ended.returncode == 0, ended.stderr
    return ended.stderr


def model(folder: Path) -> bytes:
    return (folder / "results/sudoku/Lx_H/seed0/model.safetensors").read_bytes()


def snapshots(folder: Path) -> bytes:
    return (folder / "results/sudoku/Lx_H/seed0/snapshots.safetensors").read_bytes()


def rows(folder: Path) -> list[dict[str, str]]:
    path = folder / "results/sudoku/Lx_H/seed0/training.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def states(folder: Path) -> list[Path]:
    return list(folder.glob(".resume/*/state.safetensors"))


def written(folder: Path) -> int:
    """When a state was last written to; 0 where there is none."""
    at = 0
    for path in folder.glob(".resume/*"):
        with suppress(FileNotFoundError):  # the run has just ended
            at = max(at, path.stat().st_mtime_ns)
    return at


def start(folder: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        TRAIN, cwd=folder, stderr=subprocess.PIPE, text=True, start_new_session=True
    )


def start_and_save(folder: Path) -> "subprocess.Popen[str]":
    """A training that runs, and has saved its state once."""
    process = start(folder)
    deadline = time.monotonic() + 300
    while not states(folder):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return process


def two_processes(folder: Path) -> Path:
    return project(folder, steps=300, processes=2, save_every_seconds=0.2, snapshots=10)


def test_killed_ten_times_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    changes = {"steps": 400, "save_every_seconds": 0.2, "snapshots": 30}
    undisturbed = project(tmp_path / "a", **changes)
    train(undisturbed)
    killed = project(tmp_path / "b", **changes)
    moment = random.Random(0)
    times = saved = 0
    for kill in range(10):
        before, process = written(killed), start(killed)
        while kill % 2 and process.poll() is None and written(killed) == before:
            time.sleep(0.02)  # every other time until it has saved, however slow the machine
        time.sleep(moment.uniform(0.0, 0.5) if kill % 2 else moment.uniform(0.5, 3.0))
        if process.poll() is not None:
            break  # it has finished: the moments were late ones
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        times += 1
        saved += bool(states(killed))
    assert times > 3
    assert saved > 1  # else there was nothing to resume
    train(killed)
    assert model(killed) == model(undisturbed)
    assert snapshots(killed) == snapshots(undisturbed)
    assert rows(killed) == rows(undisturbed)
    assert not states(killed)  # finished runs leave no state


def test_two_processes_learn_what_one_learns(tmp_path: Path) -> None:
    one = project(tmp_path / "one", steps=20, log_every=1)
    two = project(tmp_path / "two", steps=20, log_every=1, processes=2)
    train(one)
    assert "2 processes" in train(two)
    for row_one, row_two in zip(rows(one), rows(two), strict=True):
        for name in ("loss", "lm_loss", "q_halt_loss", "q_continue_loss", "exact_accuracy"):
            ours, theirs = (float(row[name] or "nan") for row in (row_two, row_one))
            assert ours == pytest.approx(theirs, abs=1e-5, nan_ok=True)


def test_two_processes_resume(tmp_path: Path) -> None:
    undisturbed = two_processes(tmp_path / "a")
    train(undisturbed)
    folder = two_processes(tmp_path / "b")
    process = start_and_save(folder)
    os.kill(process.pid, signal.SIGTERM)  # as a cluster does: the launcher alone is told
    said = process.communicate(timeout=300)[1]
    assert process.returncode == 130, said
    assert "run again to go on" in said
    assert "Traceback" not in said
    assert "going on from step" in train(folder)
    assert model(folder) == model(undisturbed)
    assert snapshots(folder) == snapshots(undisturbed)


def test_a_dead_process_ends_the_run_and_leaves_the_state(tmp_path: Path) -> None:
    undisturbed = two_processes(tmp_path / "a")
    train(undisturbed)
    folder = two_processes(tmp_path / "b")
    process = start_and_save(folder)
    workers = psutil.Process(process.pid).children()
    victim = next(w for w in workers if w.environ().get("RANK") == "1")
    victim.kill()
    began = time.monotonic()
    said = process.communicate(timeout=300)[1]
    assert time.monotonic() - began < 60  # at once, and not when a connection times out
    assert process.returncode == 1, said
    assert "one process died (SIGKILL)" in said
    assert "Traceback" not in said
    assert states(folder)
    assert "going on from step" in train(folder)
    assert model(folder) == model(undisturbed)
