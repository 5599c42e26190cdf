"""A study that was never run: files of the true form in the place of every run's results."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from air import paths, probes
from air.files import write_arrays, write_json
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant
from air.params import Params
from air.probes.decoding import CPU
from air.tasks.datasets import make
from air.tasks.registry import TASKS
from air.training.evaluate import evaluate
from tests.pipeline import call


def make_up(folder: Path, params: Params) -> None:
    """Fill ``folder`` (a scratch copy on ``params``) with results.

    One small untrained model a task, with as many layers and segments as configured, is really
    evaluated and probed on a few puzzles; its files stand for those of all runs, with accuracies
    drawn at random.
    """
    assert call(folder, "air", "check").returncode == 0
    random = np.random.default_rng(0)
    for task in TASKS:
        section: Any = params.task(task)
        train, test, told = make(section.data.model_copy(update={"train": 20, "test": 4}))
        train.save(folder / paths.data(task, "train"), "train")
        test.save(folder / paths.data(task, "test"), "test")
        write_json(folder / paths.statistics(task), told)
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
        evaluation = evaluate(model, test, 4, CPU)
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
                write_json(run / "evaluation.json", {**evaluation, **told_here})
                (run / "training.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
        for probe, measures, name, kept in (
            ("rollout", rolled.measures, "rollout.npz", rolled.boards),
            ("freeze", frozen, "", {}),
            ("attention", looked.measures, "attention.npz", looked.maps),
        ):
            chosen = getattr(section.probes, probe)
            for variant in chosen.variants:
                for seed in chosen.seeds:
                    run = folder / paths.run(task, variant, seed)
                    write_json(run / f"{probe}.json", measures)
                    if name:
                        write_arrays(run / name, kept)


def forget(folder: Path, task: str, variant: str, seed: int) -> None:
    """Delete all that one run has left."""
    shutil.rmtree(folder / paths.run(task, variant, seed))


def verdicts(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / paths.CLAIMS).read_text(encoding="utf-8"))
    return found
