"""Accuracy on test puzzles: all segments for every puzzle, the boards read from z_H."""

from typing import Any

import numpy as np
import torch

from air.model.halting import tensors
from air.model.network import AIR
from air.progress import Progress
from air.tasks.task import Puzzles


@torch.inference_mode()
def evaluate(
    model: AIR,
    puzzles: Puzzles,
    batch_size: int,
    device: torch.device,
    label: str = "evaluate",
    compiled: bool = False,
) -> dict[str, Any]:
    """The contents of ``evaluation.json``; accuracies are fractions.

    ``exact_accuracy`` is the share of boards right in every cell after the last segment,
    ``cell_accuracy`` the share of cells, ``exact_accuracy_by_segment`` the share of boards after
    segments 1..M.
    """
    model = model.eval().to(device)
    if compiled:
        model.compile_f()
    segments = model.config.max_segments
    exact = np.zeros(segments, dtype=np.int64)
    right_cells = 0
    with Progress(label, len(puzzles), "puzzles") as progress:
        for start in range(0, len(puzzles), batch_size):
            rows = slice(start, start + batch_size)
            inputs, labels = tensors(puzzles.inputs[rows], puzzles.labels[rows])
            inputs, labels = inputs.to(device), labels.to(device)
            x = model.embed(inputs)
            z_L, z_H = model.fresh_states(len(inputs))
            for segment in range(segments):
                z_L, z_H = model.segment(x, z_L, z_H)
                right = model.decode(z_H).argmax(dim=-1) == labels
                exact[segment] += int(right.all(dim=1).sum())
            right_cells += int(right.sum())
            progress.advance(len(inputs))
    shares = (exact / len(puzzles)).round(6).tolist()
    return {
        "exact_accuracy": shares[-1],
        "cell_accuracy": round(right_cells / (len(puzzles) * puzzles.task.cells), 6),
        "exact_accuracy_by_segment": shares,
        "puzzles": len(puzzles),
    }
