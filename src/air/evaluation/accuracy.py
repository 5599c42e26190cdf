"""Accuracy on test puzzles: all segments for every puzzle, the boards read from z_H."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from air.model.boards import tensors
from air.model.network import AIR
from air.progress import Progress
from air.results.evaluation import Evaluation
from air.tasks.task import Puzzles


@torch.inference_mode()
def evaluate(
    model: AIR,
    puzzles: Puzzles,
    batch_size: int,
    device: torch.device,
    label: str = "evaluate",
    segments: int | None = None,
    compiled: bool = False,
    silent: bool = False,
) -> Evaluation:
    """The contents of ``evaluation.json``.

    Accuracy is counted after segments 1..``segments`` (no fewer than the model's ``max_segments``,
    after which ``exact_accuracy`` and ``cell_accuracy`` are taken).
    """
    model = model.eval().to(device)
    if compiled:
        model.compile_f()
    usual = model.config.max_segments
    segments = max(segments or usual, usual)
    # counted on the device, read at the end: the host never waits for a batch
    exact = torch.zeros(segments, dtype=torch.int64, device=device)
    right_cells = torch.zeros((), dtype=torch.int64, device=device)
    for count, inputs, labels in batches(
        model, puzzles, batch_size, device, label, compiled, silent
    ):
        x = model.embed(inputs)
        z_L, z_H = model.fresh_states(len(inputs))
        for segment in range(segments):
            z_L, z_H = model.segment(x, z_L, z_H)
            right = (model.decode(z_H).argmax(dim=-1) == labels)[:count]
            exact[segment] += right.all(dim=1).sum()
            if segment == usual - 1:
                right_cells += right.sum()
    shares = (exact.cpu().numpy() / len(puzzles)).round(6).tolist()
    return Evaluation(
        exact_accuracy=shares[usual - 1],
        cell_accuracy=round(int(right_cells) / (len(puzzles) * puzzles.task.cells), 6),
        exact_accuracy_by_segment=shares,
        puzzles=len(puzzles),
        parameters=model.parameter_count,
    )


def batches(
    model: AIR,
    puzzles: Puzzles,
    batch_size: int,
    device: torch.device,
    label: str,
    compiled: bool = False,
    silent: bool = False,
) -> Iterator[tuple[int, Tensor, Tensor]]:
    """(count, inputs, labels) batch by batch, boards int64 [B, S] on ``device``, with progress.

    All have one shape: the last one is filled up with the first puzzles, and ``count`` says how
    many of a batch are to be counted. Until the last one the model's weights are held
    (:meth:`.AIR.weights_held`).
    """
    batch_size = min(batch_size, len(puzzles))
    with (
        model.weights_held(),
        Progress(label, len(puzzles), "puzzles", silent=silent, compiles=compiled) as progress,
    ):
        for start in range(0, len(puzzles), batch_size):
            count = min(batch_size, len(puzzles) - start)
            rows = np.arange(start, start + batch_size) % len(puzzles)
            inputs, labels = tensors(puzzles.inputs[rows], puzzles.labels[rows])
            yield count, inputs.to(device), labels.to(device)
            progress.advance(count)
