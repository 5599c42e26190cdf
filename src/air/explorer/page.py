"""The explorer's page: models, puzzles and code in one HTML file that needs nothing else."""

import base64
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

import torch
from jinja2 import Environment, FileSystemLoader

from air.explorer.export import model_file, shortest_format, task_facts
from air.model.network import AIR
from air.tasks.task import Puzzles

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Explored:
    """A model on the page as the page's script knows it, and its file as text (base64)."""

    facts: dict[str, Any]
    file: str


class Try(NamedTuple):
    """Something to try: its name, what the study says of it, and the view it leads to."""

    title: str
    text: str
    fragment: str


def explored(
    model: AIR, task: str, seed: int, puzzles: Puzzles, solved: float | None, device: torch.device
) -> Explored:
    """A model for the page, which shows it at work on ``puzzles``.

    Args:
        solved: its exact accuracy on the test puzzles, if it is known.
    """
    config, variant = model.config, model.variant.name
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
    }
    file = model_file(model, shortest_format(model.to(device), puzzles))
    return Explored(facts, base64.b64encode(file).decode())


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

    def code(*names: str) -> str:
        return "\n".join((HERE / name).read_text(encoding="utf-8") for name in names)

    templates = Environment(loader=FileSystemLoader(HERE), autoescape=False)
    return templates.get_template("explorer.html.j2").render(
        models={model.facts["id"]: model.file for model in models},
        tries=tries,
        precision=precision,
        facts=json.dumps(facts, separators=(",", ":")).replace("</", "<\\/"),
        style=code("explorer.css"),
        # a plain script: browsers refuse modules to the worker of a page opened from the disk
        worker=re.sub(r"^export ", "", code("model.js", "worker.js"), flags=re.MULTILINE),
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
        told = measures[of_model["id"]]
        beside = next((other for other in by_id.values() if _mirrors(of_model, other)), None)
        if attention := told.get("attention"):
            pair = [of_model, *([beside] if beside else [])]
            of_task = puzzles[of_model["task"]]
            said = [
                f"{one['variant']} {_points(measures[one['id']]['attention'], of_task)}"
                for one in pair
                if "attention" in measures[one["id"]]
            ]
            text = (
                "Point at cells and compare the shares on the neighbourhood. Over "
                f"{attention['puzzles']} test puzzles, the L-update gives it more of a cell's "
                f"attention than the H-update by so much: {', '.join(said)}."
            )
            found.append(Try("Where do the two updates look?", text, _view(pair, t=13)))
            break
    for of_model in by_id.values():
        if freeze := measures[of_model["id"]].get("freeze"):
            normal, frozen = (freeze[name]["z_L"] for name in ("normal", "freeze_H"))
            moved, still = (part["content_changes"]["mean"] for part in (normal, frozen))
            text = (
                f"z_L alone, beside a z_H that keeps its first value. Over {freeze['puzzles']} "
                f"test puzzles z_L then solves {frozen['exact_accuracy']:.0%} instead of "
                f"{normal['exact_accuracy']:.0%}, and changes its cells {still:.0f} times a "
                f"rollout instead of {moved:.0f}. Try a later segment, too."
            )
            fragment = _view([of_model], t=48, freeze="H", **{"from": 1})
            found.append(Try("Hold z_H still.", text, fragment))
            break
    for of_model in sorted(by_id.values(), key=lambda one: one["task"]):
        if rollout := measures[of_model["id"]].get("rollout"):
            right = rollout["z_H"]["cell_accuracy"]["mean"]
            updates, exact = rollout["updates_per_segment"], rollout["z_H"]["exact_by_segment"]
            text = (
                f"Step on from the end of the first segment. Over {rollout['puzzles']} test "
                f"puzzles, z_H of {of_model['variant']} is right in {right[updates - 1]:.0%} of "
                f"the cells after one segment and in {right[-1]:.0%} after the last; whole boards: "
                f"{exact['mean'][0]:.0%} and {exact['mean'][rollout['segments'] - 1]:.0%}."
            )
            fragment = _view([of_model], t=updates)
            found.append(Try("How early is the answer there?", text, fragment))
            break
    return found


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
