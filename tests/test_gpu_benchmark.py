"""benchmarks/gpu.py by its own entry, on tiny models and without a GPU."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import gpu
import pytest
import sizes
import torch

from air.probes.decoding import CPU
from tests.conftest import ROOT


def run(out: Path, *options: str) -> tuple[dict[str, Any], str]:
    """The JSON it has written, and what it has said; f is not compiled, which takes minutes."""
    ended = subprocess.run(
        [sys.executable, "benchmarks/gpu.py", "--device", "cpu", "--tiny", "--out", out, *options],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "TORCH_COMPILE_DISABLE": "1"},
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(out.read_text(encoding="utf-8")), ended.stdout


def test_every_part_gives_its_rows(tmp_path: Path) -> None:
    found, said = run(tmp_path / "found.json", "--minutes", "9")
    assert not any("FAILED" in name for name in found), found
    assert "NOT MET" not in said
    measured = {
        f"step, {size} size, {slots} slots, {side}"
        for size, slots, sides in (
            ("paper", 8, ["compiled", "eager", "plain", "compiled, any kernels"]),
            ("maze", 1, ["compiled", "eager", "plain"]),
            ("paper", 4, ["compiled"]),
            ("maze", 2, ["compiled"]),
        )
        for side in sides
    }
    for size in ("paper", "maze"):
        measured |= {f"evaluation, {size} size, {side}" for side in ("eager", "compiled")}
        measured |= {f"{probe}, {size} size" for probe in ("rollout", "freeze", "attention")}
    for name in measured:
        assert found[name]["seconds"] > 0, name
    counted = found["step, maze size, 1 slots, memory counted"]
    assert 0 < counted["saved"] < counted["peak"]
    assert found["two trainings"] is True
    assert found["matrix product"] > 0
    table = said[said.index(f"\n{found['device']}, {found['torch']}\n") :]
    rows = set(found) - {"device", "torch", "minutes"}
    assert len(rows) > len(measured)
    for name in rows:
        assert f"\n{name} " in table


def test_results_are_left_when_time_is_up(tmp_path: Path) -> None:
    found, said = run(tmp_path / "found.json", "--minutes", "0")
    assert "time is up" in said
    assert found["minutes"] < 1
    assert "as JSON: " in said


def test_a_step_that_does_not_fit_leaves_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for table in (sizes.SIZES, sizes.TASKS, sizes.MATRIX):
        for key, value in dict(table).items():
            monkeypatch.setitem(table, key, value)
    sizes.shrink()

    def too_large(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(gpu, "Plain", too_large)
    rows = {row[0]: row for row in gpu.training_steps(gpu.Bench(CPU), "maze", 2, "plain", "eager")}
    label = "step, maze size, 2 slots"
    assert rows[f"{label}, plain"][1:] == (None, "does not fit in the memory of this GPU")
    assert rows[f"{label}, eager"][1]["seconds"] > 0
