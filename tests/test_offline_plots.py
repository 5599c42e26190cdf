"""The pages of `dvc plots` once their template holds the drawing library."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ROOT

SCRIPT = str(ROOT / "workflow/scripts/offline_plots.py")


def test_a_page_of_dvc_draws_without_a_network(tmp_path: Path, browser: Any) -> None:
    def run(*command: str) -> None:
        subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)

    run("dvc", "init", "--quiet", "--no-scm")
    run(sys.executable, SCRIPT)
    curve = "step,loss\n1,2.5\n2,1.5\n3,1.25\n"
    (tmp_path / "training.csv").write_text(curve, encoding="utf-8")
    run("dvc", "plots", "show", "training.csv", "-x", "step", "-y", "loss")
    asked: list[str] = []
    page = browser.new_page()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(str(error)))
    page.goto(f"file://{tmp_path}/dvc_plots/index.html")
    page.wait_for_selector("canvas")
    ink = """canvas => { const all = [0, 0, canvas.width, canvas.height];
        return new Set(canvas.getContext("2d").getImageData(...all).data).size; }"""
    assert page.eval_on_selector("canvas", ink) > 10  # axes, letters and a line, in shades
    assert asked == [f"file://{tmp_path}/dvc_plots/index.html"]
    page.close()


def test_outside_a_project_it_says_so_and_writes_nothing(tmp_path: Path) -> None:
    ended = subprocess.run([sys.executable, SCRIPT], cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "air: .dvc: there is no such folder; run this in the project's" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
