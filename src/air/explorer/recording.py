"""Rollouts as bytes, for the page to play: of models that are too large to run in a browser."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from air.model.boards import stablemax, tensors
from air.model.layers import AttentionHook
from air.model.network import AIR, Observer, Update
from air.progress import Progress
from air.tasks.task import Puzzles, Task

SEGMENTS = 4  # of a rollout, evenly spaced, whose attention is kept
ATTENTION_BYTES = 2**14  # of one update: all cells of a 9 x 9 board, 18 of a 30 x 30 one


@dataclass(frozen=True)
class Recording:
    """What the page plays instead of a model.

    ``facts`` holds ``segments`` (counted from 0, those whose attention is kept) and ``cells`` (by
    puzzle, those whose attention is kept: none if the model has no attention). ``content`` is
    uint8, puzzle by puzzle:

    - 1 + T boards [S]: z_H's at the start, then that of the state which each sub-step updates;
    - as many margins [S], with 255 for 1;
    - by segment, update (its first L-update and its first H-update) and cell, the cell's attention
      [S], the mean over layers and heads: its square root, so that small shares are not lost, with
      255 for the row's maximum.
    """

    facts: dict[str, Any]
    content: bytes


def looked_at(segments: int) -> list[int]:
    """The segments (from 0) of a rollout of ``segments`` whose attention is kept."""
    places = np.linspace(0, segments - 1, min(SEGMENTS, segments))
    return sorted({int(place) for place in places.round()})


def most_cells(model: AIR) -> int:
    """Of how many cells of a board attention is kept at most."""
    if model.config.mixing != "attention":
        return 0
    return min(model.cells, ATTENTION_BYTES // model.cells)


def kept_cells(task: Task, inputs: np.ndarray, labels: np.ndarray, most: int) -> np.ndarray:
    """The cells of a puzzle (boards [S]) whose attention is kept: all, or ``most`` query cells."""
    if task.cells <= most:
        return np.arange(task.cells)
    query = np.flatnonzero(task.query_cells(inputs[None], labels[None])[0])
    if not len(query):  # a path of two cells, start and goal
        query = np.arange(task.cells)
    return query[np.linspace(0, len(query) - 1, min(most, len(query))).round().astype(int)]


def bytes_per_puzzle(model: AIR) -> int:
    """The most that one puzzle takes in ``Recording.content``."""
    steps = model.config.max_segments * model.config.updates_per_segment
    segments = len(looked_at(model.config.max_segments))
    return model.cells * (2 * (1 + steps) + 2 * segments * most_cells(model))


class _Recorder(Observer):
    """Boards, margins and attention of one puzzle's rollout."""

    def __init__(self, model: AIR, cells: np.ndarray) -> None:
        self.model, self.cells = model, torch.from_numpy(cells)
        self.looked_at = looked_at(model.config.max_segments)
        self.segment = 0
        self.boards: list[Tensor] = []
        self.margins: list[Tensor] = []
        self.rows: list[Tensor] = []  # of each update that is kept, by layer

    def attention(self, update: Update) -> AttentionHook | None:
        first = update.H_cycle == 0 and update.L_cycle == 0
        if self.segment not in self.looked_at or not first:
            return None

        def keep(layer: int, queries: Tensor, keys: Tensor) -> None:
            lead = self.model.attention_lead
            q, k = queries[0, :, lead:][:, self.cells], keys[0, :, lead:]
            share = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
            self.rows.append(share.mean(dim=0))

        return keep

    def after(self, update: Update, z_L: Tensor, z_H: Tensor) -> None:
        self.show(z_L if update.level == "L" else z_H)

    def show(self, z: Tensor) -> None:
        logits = self.model.decode(z)[0]
        best, second = stablemax(logits).topk(2, dim=-1).values.unbind(-1)
        self.boards.append(logits.argmax(dim=-1).to(torch.uint8))
        self.margins.append((255 * (best - second)).round().to(torch.uint8))

    def content(self) -> bytes:
        parts = [torch.stack(self.boards), torch.stack(self.margins)]
        if self.rows:
            layers = self.model.config.layers
            rows = torch.stack(self.rows).unflatten(0, (-1, layers)).mean(dim=1)
            share_of_most = rows / rows.amax(dim=-1, keepdim=True)
            parts.append((255 * share_of_most.sqrt()).round().to(torch.uint8))
        return b"".join(part.cpu().numpy().tobytes() for part in parts)


@torch.inference_mode()
def recorded(model: AIR, puzzles: Puzzles, label: str = "explore") -> Recording:
    """The rollouts of a model on the device that it is on, with progress under ``label``."""
    task = puzzles.task
    content, kept = bytearray(), []
    with Progress(label, len(puzzles), "puzzles") as progress:
        for inputs, labels in zip(puzzles.inputs, puzzles.labels, strict=True):
            kept.append(kept_cells(task, inputs, labels, most_cells(model)))
            recorder = _Recorder(model, kept[-1])
            x = model.embed(tensors(inputs[None], labels[None])[0].to(model.H_init.device))
            z_L, z_H = model.fresh_states(1)
            recorder.show(z_H)
            for recorder.segment in range(model.config.max_segments):
                z_L, z_H = model.segment(x, z_L, z_H, observer=recorder)
            content += recorder.content()
            progress.advance()
    facts = {
        "segments": looked_at(model.config.max_segments),
        "cells": [cells.tolist() for cells in kept],
    }
    return Recording(facts, bytes(content))
