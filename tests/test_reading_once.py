"""A study reads each of its files once, however many sections of pages ask for it."""

import json
import logging
from collections import Counter
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from air import paths
from air.reporting.pages import PAGES
from air.reporting.study import Study


def test_each_file_is_read_once_for_all_pages(
    small_study: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def draw(canvas: Figure, file: object, **how: object) -> None:
        """Nothing: what is read does not depend on it, and it takes a minute."""

    monkeypatch.chdir(small_study)
    monkeypatch.setattr(Figure, "savefig", draw)
    caplog.set_level(logging.DEBUG, "air")
    study = Study.load()
    monkeypatch.setattr(Study, "load", lambda: study)
    for page in (*PAGES, "cost"):
        cells = json.loads(paths.notebook(page).read_text(encoding="utf-8"))["cells"]
        exec("\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code"), {})
    reads = Counter(
        str(record.args[0])
        for record in caplog.records
        if record.msg == "read %s" and isinstance(record.args, tuple)
    )
    del reads[str(paths.CLAIMS)]  # which is read by the claims, not by the study
    assert {Path(path).name for path in reads} > {
        *("statistics.json", "test.safetensors", "training.csv", "evaluation.json"),
        *("rollout.json", "rollout.npz", "freeze.json", "attention.json", "attention.npz"),
        *("emergence.json", "emergence.npz"),
    }
    assert {path: times for path, times in reads.items() if times > 1} == {}
