"""The results on disk, as far as they are there: what is not is left out, never an error."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from air import paths
from air.files import read_arrays, read_json, read_tensors

EXPERIMENTS = {  # the paper's comparisons of variants
    "injection": "where the input enters",
    "level_tokens": "level tokens",
    "operators": "the operator by which it enters",
    "networks": "one network or two",
}
Run = tuple[str, int]  # variant, seed


@dataclass(frozen=True)
class Study:
    """The study as it was configured (``results/params.json``) and what has come of it."""

    tasks: dict[str, str]  # the title of each
    params: dict[str, Any]
    variants: dict[str, dict[str, Any]]  # what each variant's name says: n_L, n_H, operator, ...
    published: dict[str, Any]
    claims: dict[str, Any]

    @classmethod
    def load(cls) -> "Study":
        """Read the study in the current folder.

        Raises:
            UserError: the checked parameters are not there yet.
        """
        checked = read_json(paths.PARAMS_CHECKED)
        yaml = YAML(typ="safe")
        return cls(
            checked["tasks"],
            checked["params"],
            checked["variants"],
            yaml.load(paths.PAPER.read_text(encoding="utf-8")),
            yaml.load(paths.CLAIMS_TEXT.read_text(encoding="utf-8")),
        )

    def runs(self, task: str) -> pd.DataFrame:
        """One row per evaluated training run: variant, seed, and evaluation.json's entries."""
        rows = [
            {"variant": variant, "seed": seed, **measures}
            for (variant, seed), measures in self._measures(
                task, self.params[task], "evaluation"
            ).items()
        ]
        columns = ["variant", "seed", "exact_accuracy", "cell_accuracy", "puzzles", "parameters"]
        return pd.DataFrame(rows, columns=[*columns, "exact_accuracy_by_segment"])

    def accuracy(self, task: str, variant: str) -> np.ndarray:
        """Exact accuracy of every run of a variant (fractions), in order of seed."""
        runs = self.runs(task)
        return np.asarray(runs.loc[runs["variant"] == variant, "exact_accuracy"], dtype=float)

    def mean_accuracy(self, task: str, variants: Iterable[str]) -> float | None:
        """Mean exact accuracy over all runs of some variants; None if there is none."""
        runs = np.concatenate([np.empty(0), *(self.accuracy(task, name) for name in variants)])
        return float(runs.mean()) if len(runs) else None

    def groups(self, task: str, experiment: str) -> dict[str, list[str]]:
        """What an experiment compares: groups of the task's variants, by title.

        Empty if none of the variants that the experiment is about is configured.
        """
        names = self.params[task]["variants"]
        says = {name: self.variants[name] for name in names}
        adds = [
            name
            for name in names
            if says[name]["operator"] == "add" and min(says[name]["n_L"], says[name]["n_H"]) >= 0
        ]
        two = [name for name in names if says[name]["two_networks"]]
        tokens = [name for name in names if says[name]["level_token"] != "none"]
        plain = [name for name in adds if name not in two and name not in tokens]
        uneven = [name for name in plain if says[name]["n_L"] != says[name]["n_H"]]
        even = [name for name in plain if name not in uneven]
        match experiment:
            case "injection":
                return {"asymmetric": uneven, "symmetric": even}
            case "level_tokens":
                compared = [*(name for name in plain if name in ("Lx_H", "L2x_H2x")), *tokens]
                return {name: [name] for name in compared} if tokens else {}
            case "operators":
                others = [name for name in names if name not in adds]
                default = {"Lx_H": ["Lx_H"]} if "Lx_H" in plain else {}
                return {**default, "other operators": others} if others else {}
            case "networks":
                return {"asymmetric, one network": uneven, "two networks": two} if two else {}
            case _:
                raise KeyError(experiment)

    def members(self, task: str, experiment: str) -> list[str]:
        """All variants of an experiment's groups."""
        return [name for names in self.groups(task, experiment).values() for name in names]

    def solved(self, task: str, run: Run) -> float:
        """Exact accuracy of one run; NaN if it has not been evaluated."""
        runs = self.runs(task)
        found = runs.loc[(runs["variant"] == run[0]) & (runs["seed"] == run[1]), "exact_accuracy"]
        return float(found.iloc[0]) if len(found) else float("nan")

    def probe(self, task: str, name: str) -> dict[Run, dict[str, Any]]:
        """The measures of a probe (rollout, freeze, attention), by run."""
        return self._measures(task, self.params[task]["probes"][name], name)

    def curves(self, task: str) -> dict[Run, pd.DataFrame]:
        """training.csv of every run."""
        files = {run: paths.run(task, *run) / "training.csv" for run in _chosen(self.params[task])}
        return {run: pd.read_csv(path) for run, path in files.items() if path.exists()}

    def boards(self, task: str, run: Run) -> dict[str, np.ndarray] | None:
        """rollout.npz of a run (see :class:`air.probes.rollouts.Rollout`)."""
        path = paths.run(task, *run) / "rollout.npz"
        return read_arrays(path) if path.exists() else None

    def maps(self, task: str, run: Run) -> dict[str, np.ndarray] | None:
        """attention.npz of a run (see :class:`air.probes.attention_maps.Contrasts`)."""
        path = paths.run(task, *run) / "attention.npz"
        return read_arrays(path) if path.exists() else None

    def look(self, task: str) -> dict[str, Any] | None:
        """How a task's boards are drawn, and its symbols: the header of its test puzzles."""
        path = paths.data(task, "test")
        if not path.exists():
            return None
        return read_tensors(path, "puzzles")[1]

    def statistics(self, task: str) -> dict[str, Any] | None:
        """statistics.json of a task's data set."""
        path = paths.statistics(task)
        return read_json(path) if path.exists() else None

    def costs(self) -> pd.DataFrame:
        """One row per job that Snakemake has measured: stage, task, seconds, MiB, restored.

        A job is restored if it said nothing: DVC had its outputs already.
        """
        rows = []
        for path in sorted(paths.BENCHMARKS.rglob("*.tsv")):
            stage, *what = path.relative_to(paths.BENCHMARKS).with_suffix("").parts
            last = pd.read_csv(path, sep="\t", na_values="-").iloc[-1]
            log = Path("logs", stage, *what).with_suffix(".log")
            rows.append(
                {
                    "stage": stage,
                    "task": what[0] if what and what[0] in self.tasks else "",
                    "seconds": float(last["s"]),
                    "memory": float(last["max_rss"]),
                    "restored": log.exists() and not log.stat().st_size,
                }
            )
        return pd.DataFrame(rows, columns=["stage", "task", "seconds", "memory", "restored"])

    def chosen(self, task: str) -> list[Run]:
        """Every configured training run of a task."""
        return _chosen(self.params[task])

    def _measures(
        self, task: str, chosen: Mapping[str, Any], name: str
    ) -> dict[Run, dict[str, Any]]:
        files = {run: paths.run(task, *run) / f"{name}.json" for run in _chosen(chosen)}
        return {run: read_json(path) for run, path in files.items() if path.exists()}


def _chosen(section: Mapping[str, Any]) -> list[Run]:
    return [(variant, seed) for variant in section["variants"] for seed in section["seeds"]]
