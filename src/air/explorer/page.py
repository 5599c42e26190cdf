"""The explorer's page: models, puzzles and code in one HTML file that needs nothing else."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader

from air.explorer.export import in_float64, model_file, shortest_format, task_facts
from air.explorer.recording import recorded
from air.model.network import AIR
from air.tasks.task import Puzzles

HERE = Path(__file__).parent
Facts = Mapping[str, Any]  #: of a model, as the page's script knows it
Measures = Mapping[str, Mapping[str, Any]]  #: what its probes' files hold, by the model's id


@dataclass(frozen=True)
class Explored:
    """A model on the page as the page's script knows it, and its file or recording in base64."""

    facts: dict[str, Any]
    file: str


class Try(NamedTuple):
    """Something to try: its name, what the study says of it, and the view it leads to."""

    title: str
    text: str
    fragment: str


def explored(
    model: AIR,
    task: str,
    run: tuple[str, int],
    puzzles: Puzzles,
    solved: float | None,
    runs: bool,
) -> Explored:
    """A model for the page, which shows it at work on ``puzzles``; it computes where it is.

    Args:
        run: its variant, or the name of an imported model; its seed.
        solved: its exact accuracy on the test puzzles, if it is known.
        runs: whether the model itself is on the page; else its rollouts are.
    """
    config, (variant, seed) = model.config, run
    facts = {
        "id": f"{task}/{variant}/{seed}",
        "task": task,
        "variant": variant,
        "seed": seed,
        "solved": solved,
        "segments": config.max_segments,
        "updates": config.updates_per_segment,
        "L_cycles": config.L_cycles,
        "layers": config.layers,
        "heads": config.heads,
        "parameters": model.parameter_count,
    }
    if runs:
        content = model_file(model, shortest_format(model, puzzles))
    else:
        label = f"explore {task} {variant} seed {seed}"
        recording = recorded(in_float64(model), puzzles, label)
        content, facts["recorded"] = recording.content, recording.facts
    return Explored(facts, base64.b64encode(content).decode())


def body(
    models: Sequence[Explored],
    puzzles: Mapping[str, Puzzles],
    tries: Sequence[Try],
    precision: str,
) -> str:
    """What stands in the page's ``main``.

    Args:
        puzzles: those to choose from, by task.
        precision: in which the study was computed.
    """
    tasks = [
        {
            **task_facts(of_task.task),
            "inputs": of_task.inputs.tolist(),
            "labels": of_task.labels.tolist(),
        }
        for of_task in puzzles.values()
    ]
    facts = {"tasks": tasks, "models": [model.facts for model in models]}

    # a plain script: browsers refuse modules to the worker of a page opened from the disk
    plain = partial(re.sub, r"^export ", "", flags=re.MULTILINE)

    def code(*names: str) -> str:
        return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)

    templates = Environment(loader=FileSystemLoader(HERE), autoescape=False)
    return templates.get_template("explorer.html.j2").render(
        models={model.facts["id"]: model.file for model in models},
        tries=tries,
        how=_how(models),
        precision=precision,
        facts=json.dumps(facts, separators=(",", ":")).replace("</", "<\\/"),
        style=code("explorer.css"),
        worker=plain(code("model.js", "recording.js", "worker.js")),
        script=code("puzzles.js", "app.js"),
    )


def tries(
    measures: Measures,
    models: Sequence[Explored],
    puzzles: Mapping[str, Puzzles],
) -> list[Try]:
    """Three things to try on the page, with what the study's probes say of them, if they ran.

    Args:
        measures: by the model's id, what rollout.json, freeze.json and attention.json hold.
        puzzles: those on the page, by task.
    """
    facts = [model.facts for model in models]
    by_task = sorted(facts, key=lambda one: one["task"])
    found = (
        next(filter(None, (_attention(one, facts, measures, puzzles) for one in facts)), None),
        next(filter(None, (_freezing(one, measures, puzzles) for one in facts)), None),
        next(filter(None, (_rollout(one, measures, puzzles) for one in by_task)), None),
    )
    return [one for one in found if one]


def _attention(
    model: Facts, models: Sequence[Facts], measures: Measures, puzzles: Mapping[str, Puzzles]
) -> Try | None:
    """Where the two updates look, in a model and in the one that is its mirror image."""
    if not (attention := measures[model["id"]].get("attention")):
        return None
    beside = next((other for other in models if _mirrors(model, other)), None)
    pair = [model, *([beside] if beside else [])]
    of_task = puzzles[model["task"]]
    contrasts = [
        f"{one['variant']} {_points(measures[one['id']]['attention'], of_task)}"
        for one in pair
        if "attention" in measures[one["id"]]
    ]
    text = (
        "Point at a cell and compare how much of its attention falls on its neighbourhood "
        f"in the two updates. Over {attention['puzzles']} test puzzles of {of_task.task.title}, "
        f"the L-update's share exceeds the H-update's by: {', '.join(contrasts)}."
    )
    return Try("Where do the two updates look?", text, _view(pair, t=13))


def _freezing(model: Facts, measures: Measures, puzzles: Mapping[str, Puzzles]) -> Try | None:
    """What z_L does beside a frozen z_H; None for a recorded model, which cannot be frozen."""
    freeze = measures[model["id"]].get("freeze")
    if "recorded" in model or not freeze:
        return None
    normal, frozen = (freeze[name]["z_L"] for name in ("normal", "freeze_H"))
    moved, still = (part["content_changes"]["mean"] for part in (normal, frozen))
    text = (
        "z_L then works beside a z_H that keeps its first value. Over "
        f"{freeze['puzzles']} test puzzles of {puzzles[model['task']].task.title}, z_L then solves "
        f"{frozen['exact_accuracy']:.0%} instead of {normal['exact_accuracy']:.0%}, and "
        f"its cells change {still:.0f} times per rollout instead of {moved:.0f}. "
        "Next, freeze it from a later segment."
    )
    last = model["segments"] * model["updates"]
    return Try("Freeze z_H.", text, _view([model], t=last, freeze="H", **{"from": 1}))


def _rollout(model: Facts, measures: Measures, puzzles: Mapping[str, Puzzles]) -> Try | None:
    """How much of the answer is there after the first segment, and after the last."""
    if not (rollout := measures[model["id"]].get("rollout")):
        return None
    right = rollout["z_H"]["cell_accuracy"]["mean"]
    updates, exact = rollout["updates_per_segment"], rollout["z_H"]["exact_by_segment"]["mean"]
    text = (
        "Start at the end of the first segment and go on step by step. Over "
        f"{rollout['puzzles']} test puzzles of {puzzles[model['task']].task.title}, z_H of "
        f"{model['variant']} is right in {right[updates - 1]:.0%} of the cells after the first "
        f"segment and in {right[-1]:.0%} after the last; in whole boards: {exact[0]:.0%} and "
        f"{exact[rollout['segments'] - 1]:.0%}."
    )
    return Try("How early is the answer there?", text, _view([model], t=updates))


def _how(models: Sequence[Explored]) -> str:
    """Where the models of the page compute, in the words of its introduction."""
    recorded = sum("recorded" in model.facts for model in models)
    if not recorded:
        return "The trained models of this study run here, in your browser"
    if recorded == len(models):
        return "The rollouts of this study's trained models have been recorded"
    return "This study's trained models run here, in your browser, or have been recorded"


def _mirrors(one: Facts, other: Facts) -> bool:
    """Whether the input enters one model's L-update and the other's H-update."""
    pair = (one["variant"], other["variant"])
    same = (one["task"], one["seed"]) == (other["task"], other["seed"])
    return same and pair in (("Lx_H", "L_Hx"), ("L_Hx", "Lx_H"))


def _points(attention: Mapping[str, Any], puzzles: Puzzles) -> str:
    """The contrast on the first neighbourhood, in words."""
    name, neighbourhood = next(iter(puzzles.task.neighbourhoods.items()))
    difference = attention["control"][f"d_{name}"]["all_layers"]["mean"]
    if difference is None:
        return "unknown"
    return f"{100 * difference * neighbourhood.divisor:+.1f} percentage points".replace("-", "−")


def _view(models: Sequence[Facts], **more: Any) -> str:
    """The fragment of an address that shows these models (see ``recall`` in app.js)."""
    shown = dict(zip(("a", "b"), (model["id"] for model in models), strict=False))
    return urlencode({"task": models[0]["task"], **shown, "puzzle": 1, **more}, safe="/")
