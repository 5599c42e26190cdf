"""A study whose results are given, not read."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd
from ruamel.yaml import YAML

from air import paths
from air.model.variants import Variant
from air.params import load_params
from air.reporting.inputs import Checked, Paper
from air.reporting.study import F, Run, Study
from air.results.record import Record
from tests.conftest import ROOT, TITLES

FLAT = np.full(100, 0.7)
Measured = Mapping[str, Mapping[Run, Record]]
EMPTY: Measured = {}


def checked(variants: list[str]) -> Checked:
    """results/params.json of the smoke preset with other variants, and a constant learning rate."""
    params = load_params(ROOT / "presets/smoke.yaml").model_dump(mode="json")
    for task in TITLES:
        params[task]["variants"] = variants
        params[task]["train"] |= {"schedule": "constant", "lr_final": 1.0}
    specs = {name: vars(Variant.parse(name)) for name in variants}
    for task in TITLES:
        for probe in params[task]["probes"].values():
            probe["variants"] = variants
    return Checked.model_validate({"tasks": TITLES, "params": params, "variants": specs})


@dataclass(frozen=True)
class MadeUp(Study):
    """Accuracies by variant, what every probed run solves, training curves, and measures by probe.

    They are the same for all tasks.
    """

    accuracies: dict[str, list[float]] = field(default_factory=dict)
    share: float = 0.5
    curve: np.ndarray = field(default_factory=lambda: FLAT)
    probes: Measured = field(default_factory=dict)

    def accuracy(self, task: str, variant: str, measure: str = "exact_accuracy") -> np.ndarray:
        return np.array(self.accuracies.get(variant, []), dtype=float)

    def curves(self, task: str) -> dict[Run, pd.DataFrame]:
        curve = pd.DataFrame({"step": range(1, 101), "exact_accuracy": self.curve})
        return {(name, 0): curve for name in self.accuracies}

    def solved(self, task: str, run: Run) -> float:
        return self.share

    def probe(self, task: str, name: str, form: type[F]) -> dict[Run, F]:
        found = self.probes.get(name, {})
        return {run: form.model_validate(measures) for run, measures in found.items()}


def study(
    accuracies: dict[str, list[float]] | None = None,
    solved: float = 0.5,
    curve: np.ndarray = FLAT,
    probes: Measured = EMPTY,
) -> MadeUp:
    """A study of every task with these results, and the project's own paper.yaml."""
    yaml = YAML(typ="safe")
    paper = Paper.model_validate(yaml.load(ROOT / paths.PAPER))
    accuracies = accuracies or {}
    probed = {variant for found in probes.values() for variant, _ in found}
    variants = [*accuracies, *sorted(probed - set(accuracies))]
    params = checked(variants)
    return MadeUp(params, paper, accuracies=accuracies, share=solved, curve=curve, probes=probes)
