"""Studies that were never run: files of the true form in the place of every run's results."""

import contextlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from typer.testing import CliRunner

from air import paths, probes
from air.checkpoint import save_model
from air.cli import app
from air.evaluation.accuracy import evaluate
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.params import Params, load_params
from air.probes.decoding import CPU
from air.probes.emergence import emergence
from air.results.record import Record
from air.sources.datasets import make
from air.tasks.registry import TASKS
from air.writing import write_arrays, write_json, write_text
from tests.conftest import ROOT


def make_up(folder: Path, params: Params, puzzles: int = 4) -> None:
    """Fill ``folder`` (a scratch copy on ``params``) with results.

    One small untrained model a task, with as many layers and segments as configured, is really
    evaluated and probed on ``puzzles`` ones; its files stand for those of all runs, with accuracies
    drawn at random.
    """
    with contextlib.chdir(folder):
        assert CliRunner().invoke(app, ["check"]).exit_code == 0
    random = np.random.default_rng(0)
    for task in TASKS:
        section: Any = params.task(task)
        train, test, statistics = make(
            section.data.model_copy(update={"train": 20, "test": puzzles})
        )
        train.save(folder / paths.data(task, "train"), "train")
        test.save(folder / paths.data(task, "test"), "test")
        write_json(folder / paths.statistics(task), statistics.content())
        model = AIR(
            ModelConfig(
                layers=section.model.layers,
                hidden_size=16,
                heads=2,
                inner_multiple=8,
                max_segments=section.model.max_segments,
            ),
            Variant.parse("Lx_H"),
            len(test.task.vocabulary),
            test.task.cells,
            seed=0,
        )
        evaluation = evaluate(model, test, puzzles, CPU)
        rolled = probes.rollout(model, test)
        frozen = probes.freeze(model, test)
        looked = probes.attention(model, test, section.probes.attention.segments)
        rows = ["step,lr,loss,lm_loss,exact_accuracy,cell_accuracy,mean_segments"]
        rows += [f"{step},1e-4,{9 / step},{2 / step},,0.5,8" for step in range(100, 26_100, 100)]
        for variant in section.variants:
            for seed in section.seeds:
                run = folder / paths.run(task, variant, seed)
                shares = sorted(random.uniform(0.4, 0.7, section.model.max_segments).round(4))
                told_here = {
                    "exact_accuracy": shares[-1],
                    "exact_accuracy_by_segment": [float(share) for share in shares],
                }
                write_json(run / "evaluation.json", {**evaluation.content(), **told_here})
                (run / "training.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        found: list[tuple[str, Record, str, Mapping[str, np.ndarray]]] = [
            ("rollout", rolled.measures, "rollout.npz", rolled.boards.content()),
            ("freeze", frozen, "", {}),
            ("attention", looked.measures, "attention.npz", looked.maps.content()),
        ]
        if section.probes.emergence.variants:  # which takes minutes at the paper's size
            snapshots = [(step, model) for step in (0, 10, 250)]
            emerged = emergence(snapshots, test, section.probes.emergence.segments)
            found.append(("emergence", emerged.measures, "emergence.npz", emerged.boards.content()))
        for probe, measures, name, kept in found:
            chosen = getattr(section.probes, probe)
            for variant in chosen.variants:
                for seed in chosen.seeds:
                    run = folder / paths.run(task, variant, seed)
                    write_json(run / f"{probe}.json", measures.content())
                    if name:
                        write_arrays(run / name, kept)


def forget(folder: Path, task: str, variant: str, seed: int) -> None:
    """Delete all that one run has left."""
    shutil.rmtree(folder / paths.run(task, variant, seed))


def verdicts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / paths.CLAIMS).read_text(encoding="utf-8"))
    return found


def make_small(folder: Path) -> None:
    """A study of the smoke preset with every kind of file that the program reads."""
    (folder / "reports").mkdir()
    for file in (ROOT / "reports").iterdir():
        if file.suffix in (".yaml", ".ipynb"):
            shutil.copyfile(file, folder / "reports" / file.name)
    csv = (
        "  data:\n    source: csv\n    train_path: imported/puzzles.csv\n    test_path: none.csv\n"
    )
    csv += "    size: 5\n    train: 1\n    test: null\n"
    text = (ROOT / "presets/smoke.yaml").read_text(encoding="utf-8")
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    make_up(folder, load_params(folder / "params.yaml"))
    # the mazes are to be imported from now on
    before, maze = text.split("\nmaze:\n")
    _, after = maze.split("  model:\n", 1)
    text = f"{before}\nmaze:\n{csv}  model:\n{after}"
    (folder / "params.yaml").write_text(text, encoding="utf-8")
    with contextlib.chdir(folder):
        config = ModelConfig(
            layers=2, hidden_size=16, heads=2, inner_multiple=8, positions="both", max_segments=8
        )
        model = AIR(config, Variant.parse("Lx_H"), vocabulary=6, cells=16)
        path = paths.run("sudoku", "Lx_H", 0) / "model.safetensors"
        save_model(model, path, {"task": "sudoku", "seed": 0})
        log = paths.BENCHMARKS / "train/sudoku/Lx_H/0.tsv"
        write_text(log, "s\th:m:s\tmax_rss\n12.5\t0:00:12\t99.5\n")
        write_text(Path("imported/puzzles.csv"), "source,question,answer,rating\n")
        write_text(Path("imported/all_config.yaml"), "arch: {name: hrm.Lx_H}\n")
        torch.save({"lm_head.weight": torch.zeros(1)}, "imported/step_1")
        # pages of one thing, since others draw for seconds before they come to it
        text = Path("reports/rollouts.ipynb").read_text(encoding="utf-8")
        for name, module, draw in (
            ("boards", "boards", "rollout_boards"),
            ("maps", "maps", "by_layer"),
            ("strips", "boards", "emergence_strip"),
        ):
            notebook = json.loads(text)
            cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"][:2]
            cells[0]["source"] = f"from air.reporting import {module}, study"
            cells[1]["source"] = f"{module}.{draw}(study.Study.load(), 'sudoku')"
            write_json(paths.notebook(name), notebook | {"cells": cells})
        assert CliRunner().invoke(app, ["claims"]).exit_code == 0
