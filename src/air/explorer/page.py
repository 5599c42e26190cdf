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
    measures: Mapping[str, Mapping[str, Any]],
    models: Sequence[Explored],
    puzzles: Mapping[str, Puzzles],
) -> list[Try]:
    """Three things to try on the page, with what the study's probes say of them, if they ran.

    Args:
        measures: by the model's id, what rollout.json, freeze.json and attention.json hold.
        puzzles: those on the page, by task.
    """
    found = []
    by_id = {model.facts["id"]: model.facts for model in models}
    for of_model in by_id.values():
        measured = measures[of_model["id"]]
        beside = next((other for other in by_id.values() if _mirrors(of_model, other)), None)
        if attention := measured.get("attention"):
            pair = [of_model, *([beside] if beside else [])]
            of_task = puzzles[of_model["task"]]
            title = of_task.task.title
            contrasts = [
                f"{one['variant']} {_points(measures[one['id']]['attention'], of_task)}"
                for one in pair
                if "attention" in measures[one["id"]]
            ]
            text = (
                "Point at a cell and compare how much of its attention falls on its neighbourhood "
                f"in the two updates. Over {attention['puzzles']} test puzzles of {title}, the "
                f"L-update's share exceeds the H-update's by: {', '.join(contrasts)}."
            )
            found.append(Try("Where do the two updates look?", text, _view(pair, t=13)))
            break
    for of_model in by_id.values():
        if "recorded" in of_model:  # nothing can be frozen
            continue
        if freeze := measures[of_model["id"]].get("freeze"):
            title = puzzles[of_model["task"]].task.title
            normal, frozen = (freeze[name]["z_L"] for name in ("normal", "freeze_H"))
            moved, still = (part["content_changes"]["mean"] for part in (normal, frozen))
            text = (
                "z_L then works beside a z_H that keeps its first value. Over "
                f"{freeze['puzzles']} test puzzles of {title}, z_L then solves "
                f"{frozen['exact_accuracy']:.0%} instead of {normal['exact_accuracy']:.0%}, and "
                f"its cells change {still:.0f} times per rollout instead of {moved:.0f}. "
                "Next, freeze it from a later segment."
            )
            last = of_model["segments"] * of_model["updates"]
            fragment = _view([of_model], t=last, freeze="H", **{"from": 1})
            found.append(Try("Freeze z_H.", text, fragment))
            break
    for of_model in sorted(by_id.values(), key=lambda one: one["task"]):
        if rollout := measures[of_model["id"]].get("rollout"):
            title = puzzles[of_model["task"]].task.title
            right = rollout["z_H"]["cell_accuracy"]["mean"]
            updates, exact = rollout["updates_per_segment"], rollout["z_H"]["exact_by_segment"]
            text = (
                "Start at the end of the first segment and go on step by step. Over "
                f"{rollout['puzzles']} test puzzles of {title}, z_H of {of_model['variant']} is "
                f"right in {right[updates - 1]:.0%} of the cells after the first segment and in "
                f"{right[-1]:.0%} after the last; in whole boards: {exact['mean'][0]:.0%} and "
                f"{exact['mean'][rollout['segments'] - 1]:.0%}."
            )
            fragment = _view([of_model], t=updates)
            found.append(Try("How early is the answer there?", text, fragment))
            break
    return found


def _how(models: Sequence[Explored]) -> str:
    """Where the models of the page compute, in the words of its introduction."""
    recorded = sum("recorded" in model.facts for model in models)
    if not recorded:
        return "The trained models of this study run here, in your browser"
    if recorded == len(models):
        return "The rollouts of this study's trained models have been recorded"
    return "This study's trained models run here, in your browser, or have been recorded"


def _mirrors(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
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


def _view(models: Sequence[Mapping[str, Any]], **more: Any) -> str:
    """The fragment of an address that shows these models (see ``recall`` in app.js)."""
    shown = dict(zip(("a", "b"), (model["id"] for model in models), strict=False))
    return urlencode({"task": models[0]["task"], **shown, "puzzle": 1, **more}, safe="/")
