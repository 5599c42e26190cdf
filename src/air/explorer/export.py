"""What the page carries: models as safetensors, tasks and puzzles as plain values.

A model is stored in the shortest of float16, bfloat16 and float32 in which it shows the very boards
that it shows with all its digits, on every puzzle of the page. Boards are compared as float64
computes them, which is how the page does.
"""

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor

from air.model.boards import tensors
from air.model.network import AIR, Observer, Update
from air.tasks.task import Puzzles, Task
from air.tasks.words import WORDS

FORMATS = (torch.float16, torch.bfloat16, torch.float32)  # of the weights, as preferred


class _Boards(Observer):
    """What both states show after every update."""

    def __init__(self, model: AIR) -> None:
        self.model = model
        self.boards: list[Tensor] = []

    def after(self, update: Update, z_L: Tensor, z_H: Tensor) -> None:
        self.boards += [self.model.decode(z).argmax(dim=-1).to(torch.uint8) for z in (z_L, z_H)]


def in_float64(model: AIR, stored: torch.dtype = torch.float32) -> AIR:
    """A copy of a model that computes in float64, its weights rounded to ``stored`` before."""
    copy = AIR(model.config, model.variant, model.vocabulary, model.cells, "float64")
    weights = model.state_dict()
    copy.load_state_dict({name: weight.to(stored) for name, weight in weights.items()})
    device = model.H_init.device
    return copy.to("cpu" if device.type == "mps" else device).eval()  # Apple's GPUs have no float64


@torch.inference_mode()
def decoded(model: AIR, puzzles: Puzzles) -> np.ndarray:
    """Boards after every sub-step, z_L's and z_H's in turn: uint8 ``[2 T, B, S]``."""
    inputs = tensors(puzzles.inputs, puzzles.labels)[0].to(model.H_init.device)
    x, (z_L, z_H) = model.embed(inputs), model.fresh_states(len(inputs))
    recorder = _Boards(model)
    for _ in range(model.config.max_segments):
        z_L, z_H = model.segment(x, z_L, z_H, observer=recorder)
    return np.asarray(torch.stack(recorder.boards).cpu())


def shortest_format(model: AIR, puzzles: Puzzles) -> torch.dtype:
    """The first of FORMATS that changes no cell of any board of these puzzles' rollouts."""
    right = decoded(in_float64(model), puzzles)
    for stored in FORMATS[:-1]:
        if np.array_equal(decoded(in_float64(model, stored), puzzles), right):
            return stored
    return FORMATS[-1]


def model_file(model: AIR, stored: torch.dtype) -> bytes:
    """A model as one safetensors file, which ``read_tensors`` of model.js takes.

    Its header says what ``AIR`` of model.js must know: ``model`` (the sizes), ``variant`` (its
    fields), ``vocabulary``, ``cells``.
    """
    about = {
        "model": model.config.model_dump(),
        "variant": asdict(model.variant),
        "vocabulary": model.vocabulary,
        "cells": model.cells,
    }
    weights = {name: weight.to(stored).cpu() for name, weight in model.state_dict().items()}
    return save(weights, metadata={"air": json.dumps(about, sort_keys=True)})


def task_facts(task: Task) -> dict[str, Any]:
    """What the page must know of a task. ``near`` and ``peers`` list each cell's neighbours."""
    nearest = next(iter(task.neighbourhoods.values()))
    return {
        "name": task.name,
        "title": task.title,
        "rows": task.rows,
        "columns": task.columns,
        "vocabulary": list(task.vocabulary),
        "undecided": task.undecided_token,
        "violation": WORDS[task.name].violation,
        "mask": task.mask_token,
        "look": task.look(),
        "near": [np.flatnonzero(row).tolist() for row in nearest.matrix],
        "peers": [np.flatnonzero(row).tolist() for row in task.peers],
    }
