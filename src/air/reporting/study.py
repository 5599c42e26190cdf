"""The results on disk, as far as they are there: what is not is left out, never an error.

What is there is checked against its type (``air.results``, ``inputs``): a damaged file stops the
report by its name.
"""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd

from air import paths
from air.files import AGAIN, UserError, checked, read_json, read_yaml, reading, there
from air.reading import read_arrays, read_tensors
from air.reporting.inputs import Checked, Look, Paper, Params, Runs, VariantSpec, misfit
from air.results.attention import AttentionMeasures, Maps
from air.results.emergence import EmergenceMeasures, Strip
from air.results.evaluation import Evaluation
from air.results.freeze import FreezeMeasures
from air.results.imported import Imported, Sizes
from air.results.record import Arrays, Record
from air.results.rollout import Boards, RolloutMeasures
from air.results.statistics import Statistics

EXPERIMENTS = {  # the paper's comparisons of variants
    "injection": "where the input enters",
    "level_tokens": "level tokens",
    "operators": "the operator by which it enters",
    "networks": "one network or two",
    "imported": "models that others trained",
}
RESTORE = "fix it, or restore it with git"
Run = tuple[str, int]  # variant, seed
T = TypeVar("T")
F = TypeVar("F", bound=Record)
A = TypeVar("A", bound=Arrays)


@dataclass(frozen=True)
class Study:
    """The study as it was configured (``results/params.json``) and what has come of it."""

    checked: Checked
    published: Paper
    # every file is read once: pages ask for the same measures again and again
    _read: dict[tuple[Hashable, ...], Any] = field(default_factory=dict, repr=False, compare=False)

    @classmethod
    def load(cls) -> "Study":
        """Read the study in the current folder.

        Raises:
            UserError: the checked parameters are not there yet, or a file is damaged.
        """
        params = read_json(paths.PARAMS_CHECKED, Checked)
        paper = checked(Paper, read_yaml(paths.PAPER, RESTORE, RESTORE), paths.PAPER, RESTORE)
        return cls(params, paper)

    @property
    def tasks(self) -> dict[str, str]:
        """The title of each task, by its name."""
        return self.checked.tasks

    @property
    def studied(self) -> dict[str, str]:
        """The title of each task that this study does not leave out."""
        return {task: title for task, title in self.tasks.items() if self.chosen(task)}

    @property
    def params(self) -> Params:
        """The complete parameters."""
        return self.checked.params

    @property
    def variants(self) -> dict[str, VariantSpec]:
        """What each variant's name stands for."""
        return self.checked.variants

    def runs(self, task: str) -> pd.DataFrame:
        """One row per evaluated training run: variant, seed, and evaluation.json's entries."""
        return self._once(("runs", task), lambda: self._runs(task))

    def _runs(self, task: str) -> pd.DataFrame:
        found = self._measures(task, self.chosen(task), "evaluation", Evaluation)
        rows = [
            {"variant": variant, "seed": seed, **measures.model_dump()}
            for (variant, seed), measures in found.items()
        ]
        return pd.DataFrame(rows, columns=["variant", "seed", *Evaluation.model_fields])

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

        Empty if none of the variants that the experiment is about is configured. Models that others
        trained are not compared with each other; each is a group of its own.
        """
        if experiment == "imported":
            return {name: [name] for name in self.params.task(task).imported}
        names = self.params.task(task).variants
        specs = {name: self.variants[name] for name in names}
        two = [name for name in names if specs[name].two_networks]
        tokens = [name for name in names if specs[name].level_token != "none"]
        shared = [name for name in names if name not in two and name not in tokens]
        plain = [
            name
            for name in shared
            if specs[name].operator == "add" and min(specs[name].n_L, specs[name].n_H) >= 0
        ]
        uneven = [name for name in plain if specs[name].n_L != specs[name].n_H]
        even = [name for name in plain if name not in uneven]
        others = [
            name for name in shared if name not in plain and specs[name].n_L != specs[name].n_H
        ]
        match experiment:
            case "injection":
                return {"asymmetric": uneven, "symmetric": even}
            case "level_tokens":
                compared = [*(name for name in plain if name in ("Lx_H", "L2x_H2x")), *tokens]
                return {name: [name] for name in compared} if tokens else {}
            case "operators":
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

    def probe(self, task: str, name: str, form: type[F]) -> dict[Run, F]:
        """What a probe has measured (``NAME.json``), by run, as objects of its type."""
        chosen = self._probed(task, name)
        return self._once(("probe", task, name), lambda: self._measures(task, chosen, name, form))

    def _probed(self, task: str, name: str) -> list[Run]:
        return [*_runs(self.params.task(task).probes.of(name)), *self.imported(task)]

    def skipped(self, task: str, name: str) -> dict[Run, str]:
        """Why a probe has measured nothing, by run: what stands in NAME.json then."""
        contents = self._contents(task, self._probed(task, name), name)
        reasons = {run: _reason(content) for run, content in contents.items()}
        return {run: reason for run, reason in reasons.items() if reason}

    def _contents(self, task: str, chosen: list[Run], name: str) -> dict[Run, object]:
        """What stands in NAME.json, by run, before it is checked."""

        def read() -> dict[Run, object]:
            files = _files(task, chosen, f"{name}.json")
            return {run: read_json(path, object) for run, path in files.items()}

        return self._once(("contents", task, name), read)

    def _measures(self, task: str, chosen: list[Run], name: str, form: type[F]) -> dict[Run, F]:
        measures: dict[Run, F] = {}
        for run, content in self._contents(task, chosen, name).items():
            if _reason(content):
                continue
            path = paths.run(task, *run) / f"{name}.json"
            measures[run] = checked(form, content, path)
            first = next(iter(measures))
            # models of ours are alike; those of others have sizes of their own
            ours = run not in self.imported(task)
            if ours and _outline(measures[run]) != _outline(measures[first]):
                other = paths.run(task, *first) / path.name
                raise UserError(
                    f"{path}: its entries or their sizes are not those of {other}; {AGAIN}"
                )
        return measures

    def rollouts(self, task: str) -> dict[Run, RolloutMeasures]:
        """rollout.json of every run that was rolled out."""
        return self.probe(task, "rollout", RolloutMeasures)

    def freezes(self, task: str) -> dict[Run, FreezeMeasures]:
        """freeze.json of every run that was frozen."""
        return self.probe(task, "freeze", FreezeMeasures)

    def attentions(self, task: str) -> dict[Run, AttentionMeasures]:
        """attention.json of every run whose attention was measured."""
        return self.probe(task, "attention", AttentionMeasures)

    def emergences(self, task: str) -> dict[Run, EmergenceMeasures]:
        """emergence.json of every run whose snapshots were probed, at the same steps if ours."""
        found = self.probe(task, "emergence", EmergenceMeasures)
        ours = [run for run in found if run not in self.imported(task)]
        for run, measures in ((run, found[run]) for run in ours):
            first = ours[0]
            if measures.steps != found[first].steps:
                path, other = (paths.run(task, *of) / "emergence.json" for of in (run, first))
                raise UserError(f"{path}: its steps are not those of {other}; {AGAIN}")
        return found

    def curves(self, task: str) -> dict[Run, pd.DataFrame]:
        """training.csv of every run."""
        return self._once(("curves", task), lambda: self._curves(task))

    def _curves(self, task: str) -> dict[Run, pd.DataFrame]:
        curves: dict[Run, pd.DataFrame] = {}
        for run, path in _files(task, _runs(self.params.task(task)), "training.csv").items():
            curves[run] = _table(path, ["lm_loss", "exact_accuracy"], whole="step")
            first = next(iter(curves))
            if not curves[run]["step"].equals(curves[first]["step"]):
                other = paths.run(task, *first) / path.name
                raise UserError(f"{path}: its steps are not those of {other}; {AGAIN}")
        return curves

    def boards(self, task: str, run: Run) -> Boards | None:
        """rollout.npz of a run."""
        return self._once(("boards", task, run), lambda: self._boards(task, run))

    def _boards(self, task: str, run: Run) -> Boards | None:
        path = paths.run(task, *run) / "rollout.npz"
        measures, look = self.rollouts(task).get(run), self.look(task)
        if not there(path) or measures is None or look is None:
            return None
        return read_boards(path, measures, look)

    def strip(self, task: str, run: Run) -> Strip | None:
        """emergence.npz of a run."""
        return self._once(("strip", task, run), lambda: self._strip(task, run))

    def _strip(self, task: str, run: Run) -> Strip | None:
        path = paths.run(task, *run) / "emergence.npz"
        measures, look = self.emergences(task).get(run), self.look(task)
        if not there(path) or measures is None or look is None:
            return None
        names = ("inputs", "labels", "z_L", "z_H")
        return _arrays(path, Strip, names, look, T=len(measures.snapshots))

    def maps(self, task: str, run: Run) -> Maps | None:
        """attention.npz of a run."""
        return self._once(("maps", task, run), lambda: self._maps(task, run))

    def _maps(self, task: str, run: Run) -> Maps | None:
        path = paths.run(task, *run) / "attention.npz"
        measures, look = self.attentions(task).get(run), self.look(task)
        if not there(path) or measures is None or look is None:
            return None
        layers = len(measures.control.contrasts["d_ent"].mean)
        sizes = {"G": len(measures.segments), "L": layers}
        return _arrays(path, Maps, ("inputs", "labels", "board"), look, **sizes)

    def look(self, task: str) -> Look | None:
        """How a task's boards are drawn, and its symbols: the header of the test set's file."""
        path = paths.data(task, "test")
        return self._once(("look", path), lambda: read_look(path) if there(path) else None)

    def statistics(self, task: str) -> Statistics | None:
        """statistics.json of a task's data set."""
        return self._once(("statistics", task), lambda: self._statistics(task))

    def _statistics(self, task: str) -> Statistics | None:
        path, look = paths.statistics(task), self.look(task)
        if not there(path):
            return None
        found = read_json(path, Statistics)
        for name, boards in found.examples if look else ():
            if look and (said := misfit(boards, look)):
                raise UserError(f"{path}: examples.{name}: {said}; {AGAIN}")
        return found

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
        """Every configured training run of a task, then every model that others trained."""
        return [*_runs(self.params.task(task)), *self.imported(task)]

    def imported(self, task: str) -> dict[Run, Imported | None]:
        """The models that others trained: import.json, where it is there."""
        return self._once(("imported", task), lambda: self._imported(task))

    def _imported(self, task: str) -> dict[Run, Imported | None]:
        runs = [(name, 0) for name in self.params.task(task).imported]
        files = _files(task, runs, "import.json")
        return {run: read_json(files[run], Imported) if run in files else None for run in runs}

    def sizes(self, task: str, run: Run) -> Sizes:
        """The sizes of a run's model."""
        origin = self.imported(task).get(run)
        return origin.model if origin else self.params.task(task).model

    def title(self, task: str, run: Run) -> str:
        """What figures call a run."""
        name = run[0] if run in self.imported(task) else f"{run[0]}, seed {run[1]}"
        return f"{self.tasks[task]}, {name}"

    def _once(self, key: tuple[Hashable, ...], read: Callable[[], T]) -> T:
        if key not in self._read:
            self._read[key] = read()
        found: T = self._read[key]
        return found


def read_look(path: Path) -> Look:
    """How boards are drawn, from a file of puzzles.

    Raises:
        UserError: it is missing or damaged.
    """
    return checked(Look, read_tensors(path, "puzzles", mapped=True)[1], path)


def read_boards(path: Path, measures: RolloutMeasures, look: Look) -> Boards:
    """A rollout.npz, held against what was measured on the same rollouts.

    Raises:
        UserError: it is missing or damaged.
    """
    steps = measures.segments * measures.updates_per_segment
    return _arrays(path, Boards, ("inputs", "labels", "z_L", "z_H"), look, T=steps)


def _reason(content: object) -> str:
    """Why there are no measures in a probe's file; "" if there are."""
    return str(content["skipped"]) if isinstance(content, dict) and "skipped" in content else ""


def _files(task: str, chosen: Iterable[Run], name: str) -> dict[Run, Path]:
    """Where runs have left a file of that name."""
    files = {run: paths.run(task, *run) / name for run in chosen}
    return {run: path for run, path in files.items() if there(path)}


def _outline(content: object) -> object:
    """What two files have in common that were made alike: keys, and lengths of lists."""
    if isinstance(content, Record):
        content = content.model_dump()
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


def _arrays(path: Path, form: type[A], boards: Iterable[str], look: Look, **sizes: int) -> A:
    try:
        found = form.read(read_arrays(path), S=look.cells, **sizes)
        for name in boards:
            if wrong := misfit(getattr(found, name), look):
                raise ValueError(f"{name} {wrong}")
    except ValueError as error:
        raise UserError(f"{path}: {error}; {AGAIN}") from None
    return found


def _runs(section: Runs) -> list[Run]:
    return [(variant, seed) for variant in section.variants for seed in section.seeds]
