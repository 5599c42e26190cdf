"""The results on disk, as far as they are there: what is not is left out, never an error.

What is there is held against its form (``forms``): a damaged file stops the report by its name.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from air import paths
from air.files import (
    AGAIN,
    UserError,
    checked,
    read_arrays,
    read_json,
    read_tensors,
    read_yaml,
    reading,
    there,
)
from air.reporting import forms

EXPERIMENTS = {  # the paper's comparisons of variants
    "injection": "where the input enters",
    "level_tokens": "level tokens",
    "operators": "the operator by which it enters",
    "networks": "one network or two",
}
RESTORE = "mend it, or restore it with git"
Run = tuple[str, int]  # variant, seed
T = TypeVar("T")


@dataclass(frozen=True)
class Study:
    """The study as it was configured (``results/params.json``) and what has come of it."""

    tasks: dict[str, str]  # the title of each
    params: dict[str, Any]
    variants: dict[str, dict[str, Any]]  # what each variant's name says: n_L, n_H, operator, ...
    published: dict[str, Any]
    claims: dict[str, Any]
    # files are read once: pages ask for the same measures again and again
    _read: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls) -> "Study":
        """Read the study in the current folder.

        Raises:
            UserError: the checked parameters are not there yet, or a file is damaged.
        """
        told = read_json(paths.PARAMS_CHECKED, forms.Titles)
        checked(forms.parameters(told["tasks"]), told, paths.PARAMS_CHECKED)
        texts = []
        for path, form in ((paths.PAPER, forms.Paper), (paths.CLAIMS_TEXT, forms.Claims)):
            texts.append(read_yaml(path, RESTORE, RESTORE))
            checked(form, texts[-1], path, RESTORE)
        for name, claim in texts[1].items():
            for task in claim["tasks"]:
                if task not in told["tasks"]:
                    raise UserError(
                        f"{paths.CLAIMS_TEXT}: {name}.tasks: {task} is none of "
                        f"{', '.join(told['tasks'])}"
                    )
        return cls(told["tasks"], told["params"], told["variants"], *texts)

    def runs(self, task: str) -> pd.DataFrame:
        """One row per evaluated training run: variant, seed, and evaluation.json's entries."""
        return self._once((task, "runs"), lambda: self._runs(task))

    def _runs(self, task: str) -> pd.DataFrame:
        rows = [
            {"variant": variant, "seed": seed, **measures}
            for (variant, seed), measures in self._measures(
                task, self.params[task], "evaluation"
            ).items()
        ]
        columns = ["variant", "seed", *forms.Evaluation.model_fields]
        return pd.DataFrame(rows, columns=columns)

    def accuracy(self, task: str, variant: str, measure: str = "exact_accuracy") -> np.ndarray:
        """A measure of every run of a variant (fractions), in order of seed, where it is known."""
        runs = self.runs(task)
        return np.asarray(runs.loc[runs["variant"] == variant, measure].dropna(), dtype=float)

    def mean_accuracy(self, task: str, variants: Iterable[str]) -> float | None:
        """Mean exact accuracy over all runs of some variants; None if there is none."""
        runs = self.group(task, variants)
        return float(runs.mean()) if len(runs) else None

    def group(
        self, task: str, variants: Iterable[str], measure: str = "exact_accuracy"
    ) -> np.ndarray:
        """A measure of every run of some variants (fractions)."""
        found = (self.accuracy(task, name, measure) for name in variants)
        return np.concatenate([np.empty(0), *found])

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
        chosen = self.params[task]["probes"][name]
        return self._once((task, name), lambda: self._measures(task, chosen, name))

    def curves(self, task: str) -> dict[Run, pd.DataFrame]:
        """training.csv of every run."""
        return self._once((task, "training"), lambda: self._curves(task))

    def _curves(self, task: str) -> dict[Run, pd.DataFrame]:
        curves: dict[Run, pd.DataFrame] = {}
        for run, path in _files(task, self.params[task], "training.csv").items():
            curves[run] = _table(path, ["lm_loss", "exact_accuracy"], whole="step")
            first = next(iter(curves))
            if not curves[run]["step"].equals(curves[first]["step"]):
                other = paths.run(task, *first) / path.name
                raise UserError(f"{path}: its steps are not those of {other}; {AGAIN}")
        return curves

    def boards(self, task: str, run: Run) -> dict[str, np.ndarray] | None:
        """rollout.npz of a run (see :class:`air.probes.rollouts.Rollout`)."""
        path = paths.run(task, *run) / "rollout.npz"
        measures, look = self.probe(task, "rollout").get(run), self.look(task)
        if not there(path) or measures is None or look is None:
            return None
        steps = measures["segments"] * measures["updates_per_segment"]
        return _arrays(path, forms.BOARDS, ("inputs", "labels", "z_L", "z_H"), look, T=steps)

    def maps(self, task: str, run: Run) -> dict[str, np.ndarray] | None:
        """attention.npz of a run (see :class:`air.probes.attention_maps.Contrasts`)."""
        path = paths.run(task, *run) / "attention.npz"
        measures, look = self.probe(task, "attention").get(run), self.look(task)
        if not there(path) or measures is None or look is None:
            return None
        sizes = {"G": len(measures["segments"]), "L": len(measures["control"]["d_ent"]["mean"])}
        return _arrays(path, forms.MAPS, ("inputs", "labels", "board"), look, **sizes)

    def look(self, task: str, split: str = "test") -> dict[str, Any] | None:
        """How a task's boards are drawn, and its symbols: the header of a split's file."""
        path = paths.data(task, split)
        if not there(path):
            return None
        header = read_tensors(path, "puzzles", mapped=True)[1]
        checked(forms.Look, header, path)
        return header

    def statistics(self, task: str) -> dict[str, Any] | None:
        """statistics.json of a task's data set."""
        path, look = paths.statistics(task), self.look(task)
        if not there(path):
            return None
        told: dict[str, Any] = read_json(path, forms.Statistics)
        for name, boards in told["examples"].items() if look else ():
            if said := forms.misfit(boards, look or {}):
                raise UserError(f"{path}: examples.{name}: {said}; {AGAIN}")
        return told

    def costs(self) -> pd.DataFrame:
        """One row per job that Snakemake has measured: stage, task, seconds, MiB, restored.

        A job is restored if DVC had its outputs already (workflow/scripts/repro.py).
        """
        rows = []
        for path in sorted(paths.BENCHMARKS.rglob("*.tsv")):
            stage, *what = path.relative_to(paths.BENCHMARKS).with_suffix("").parts
            last = _table(path, ["s", "max_rss"], separator="\t").iloc[-1]
            mark = Path("logs", stage, *what).with_suffix(".restored")
            rows.append(
                {
                    "stage": stage,
                    "task": what[0] if what and what[0] in self.tasks else "",
                    "seconds": float(last["s"]),
                    "memory": float(last["max_rss"]),
                    "restored": mark.exists(),
                }
            )
        return pd.DataFrame(rows, columns=["stage", "task", "seconds", "memory", "restored"])

    def chosen(self, task: str) -> list[Run]:
        """Every configured training run of a task."""
        return _chosen(self.params[task])

    def _once(self, key: Any, read: Callable[[], T]) -> T:
        if key not in self._read:
            self._read[key] = read()
        found: T = self._read[key]
        return found

    def _measures(
        self, task: str, chosen: Mapping[str, Any], name: str
    ) -> dict[Run, dict[str, Any]]:
        measures: dict[Run, dict[str, Any]] = {}
        for run, path in _files(task, chosen, f"{name}.json").items():
            measures[run] = read_json(path, forms.MEASURES.get(name))
            first = next(iter(measures))
            if _outline(measures[run]) != _outline(measures[first]):
                other = paths.run(task, *first) / path.name
                raise UserError(f"{path}: its entries or their sizes are not those of {other}; "
                                f"{AGAIN}")  # fmt: skip
        return measures


def _files(task: str, section: Mapping[str, Any], name: str) -> dict[Run, Path]:
    """Where a section's runs have left a file of that name."""
    files = {run: paths.run(task, *run) / name for run in _chosen(section)}
    return {run: path for run, path in files.items() if there(path)}


def _outline(content: Any) -> Any:
    """What two files have in common that were made alike: keys, and lengths of lists."""
    if isinstance(content, dict):
        return {key: _outline(value) for key, value in content.items()}
    return (len(content), _outline(content[0])) if isinstance(content, list) and content else None


def _table(path: Path, columns: list[str], whole: str = "", separator: str = ",") -> pd.DataFrame:
    """A CSV file that has at least these columns of numbers, and maybe one of ``whole`` ones."""
    with reading(path, "a CSV file", ValueError):  # pandas' own errors are ValueErrors
        table = pd.read_csv(path, sep=separator, na_values="-")
        names = [whole, *columns] if whole else columns
        for name in names:
            if name not in table:
                raise ValueError(f"it has no column {name}")
            kind = table[name].dtype.kind
            if not len(table) or kind not in ("iu" if name == whole else "iuf"):
                raise ValueError(f"its column {name} holds no numbers")
            if np.isinf(table[name]).any():
                raise ValueError(f"its column {name} holds a number that is not finite")
    return table


def _arrays(
    path: Path, form: Mapping[str, str], boards: Iterable[str], look: Any, **sizes: int
) -> dict[str, np.ndarray]:
    arrays, cells = read_arrays(path), look["rows"] * look["columns"]
    said = forms.misshapen(arrays, form, {"S": cells, **sizes})
    for name in boards if not said else ():
        if wrong := forms.misfit(arrays[name], look):
            said = f"{name} {wrong}"
    if said:
        raise UserError(f"{path}: {said}; {AGAIN}")
    return arrays


def _chosen(section: Mapping[str, Any]) -> list[Run]:
    return [(variant, seed) for variant in section["variants"] for seed in section["seeds"]]
