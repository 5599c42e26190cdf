"""Attention (claim C5): is an L-update's attention more local than an H-update's?

At an L-update and an H-update (the paper: the first ones) of chosen segments, in every layer, each
head's attention is restricted to the content cells and renormalised; masses and entropies are taken
per head and averaged over heads. Per query cell, three contrasts:

    d_<neighbourhood> = (mass_L - mass_H) / divisor      (Sudoku: nbr; Maze: nbr4, nbr8, win5)
    d_ent = entropy_H - entropy_L                         (entropies divided by log of the cells)
    d_viol = mass_L - mass_H on violations of the board that z_H shows after that H-update
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from air.model.layers import AttentionHook, widen
from air.model.network import AIR, Observer, Update
from air.probes.decoding import CPU, in_batches
from air.probes.statistics import bootstrap, rounded
from air.tasks.task import Puzzles, Task

FIRST = (Update("L", 0, 0), Update("H", 0, 0))  # of a segment: the paper's choice
CLASSES = ("control", "adjacent")


class AttentionCapture(Observer):
    """Reduces the attention of the captured updates of one segment as it is made.

    After the segment, ``measures`` is ``[2 (L, H), layers, measures, B, S]``: the mass on each
    neighbourhood, the entropy, the mass on violations; ``adjacent`` (bool ``[B, S]``) says which
    cells have a violation among their peers.
    """

    def __init__(
        self,
        model: AIR,
        task: Task,
        labels: np.ndarray,
        device: torch.device,
        updates: tuple[Update, Update],
    ) -> None:
        self.model, self.task, self.labels, self.updates = model, task, labels, updates
        dtype = model.H_init.dtype  # float32, or float64 in a float64 model

        def matrix(cells: np.ndarray) -> Tensor:
            return torch.from_numpy(cells).to(device, dtype)

        self.board: Tensor  # z_H after the captured H-update
        self.pending = len(updates)
        self.near = torch.stack([matrix(n.matrix) for n in task.neighbourhoods.values()])
        self.reach, self.peers = matrix(task.violation_reach), matrix(task.peers)
        self.parts: dict[Update, list[Tensor]] = {update: [] for update in updates}
        self.maps: dict[Update, list[Tensor]] = {update: [] for update in updates}

    def attention(self, update: Update) -> AttentionHook | None:
        if update not in self.updates:
            return None

        def reduce(layer: int, queries: Tensor, keys: Tensor) -> None:
            lead = self.model.attention_lead
            q, k = widen(queries[:, :, lead:]), widen(keys[:, :, lead:])
            # a softmax over the content alone is the full one, restricted and renormalised
            share = torch.softmax(q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5, dim=-1)
            entropy = torch.special.entr(share).sum(dim=-1).mean(dim=1) / np.log(self.task.cells)
            mean = share.mean(dim=1)
            mass = torch.einsum("bij,kij->kbi", mean, self.near)
            self.parts[update].append(torch.cat([mass, entropy[None]]))
            self.maps[update].append(mean * self.reach)

        return reduce

    def after(self, update: Update, z_L: Tensor, z_H: Tensor) -> None:
        if update == self.updates[1]:
            self.board = z_H
        self.pending -= update in self.updates
        if update not in self.updates or self.pending:
            return  # an L-update may come after the H-update whose board counts
        boards = self.model.decode(self.board).argmax(dim=-1).cpu().numpy().astype(np.uint8)
        wrong = torch.from_numpy(self.task.violations(boards, self.labels)).to(self.near)
        self.adjacent = (wrong @ self.peers > 0).cpu().numpy()
        measured = [
            [
                torch.cat([part, torch.einsum("bij,bj->bi", map_, wrong)[None]])
                for part, map_ in zip(self.parts[update], self.maps[update], strict=True)
            ]
            for update in self.updates
        ]
        self.measures = torch.stack([torch.stack(layers) for layers in measured]).cpu().numpy()


@torch.inference_mode()
def captured(
    model: AIR,
    task: Task,
    inputs: Tensor,
    labels: Tensor,
    segments: Sequence[int],
    updates: tuple[Update, Update] = FIRST,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(measures, adjacent) of :class:`AttentionCapture` for each of ``segments``, in order."""
    x = model.embed(inputs)
    z_L, z_H = model.fresh_states(len(inputs))
    targets = labels.cpu().numpy().astype(np.uint8)
    for segment in range(max(segments) + 1):
        if segment in segments:
            capture = AttentionCapture(model, task, targets, inputs.device, updates)
            z_L, z_H = model.segment(x, z_L, z_H, observer=capture)
            yield capture.measures, capture.adjacent
        else:
            z_L, z_H = model.segment(x, z_L, z_H)


def attention(
    model: AIR,
    puzzles: Puzzles,
    segments: Sequence[int],
    memory_gib: float = 2.0,
    device: torch.device = CPU,
    updates: tuple[Update, Update] = FIRST,
    label: str = "attention",
) -> dict[str, Any]:
    """The contents of attention.json: contrasts per class of query cell, one value per layer.

    ``segments`` (counted from 0) and ``updates`` (one of each level) say where it is looked.

    ``interval_rows`` is the paper's half-width, 1.96 sd / sqrt(rows), which takes every (puzzle,
    segment, cell) as independent; ``interval`` draws whole puzzles again and is what claims use.
    ``all_layers`` is the mean over layers, with an interval of the second kind.
    ``L`` and ``H`` are the means of the contrast's parts, ``positive`` the share of rows above 0.
    """
    model = model.eval().to(device)
    task = puzzles.task
    divisors = np.array([n.divisor for n in task.neighbourhoods.values()] + [-1.0, 1.0])
    names = [*(f"d_{name}" for name in task.neighbourhoods), "d_ent", "d_viol"]
    shape = (len(puzzles), len(CLASSES), model.config.layers, len(names))
    # per puzzle: sums of contrast, its square, its sign, the L part, the H part
    sums = np.zeros((5, *shape))
    rows_of = np.zeros((len(puzzles), len(CLASSES)), dtype=np.int64)
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label, maps=True):
        query = task.query_cells(puzzles.inputs[rows], puzzles.labels[rows])
        for measures, adjacent in captured(model, task, inputs, labels, segments, updates):
            contrast = (measures[0] - measures[1]) / divisors[:, None, None]
            parts = (contrast, contrast**2, contrast > 0, measures[0], measures[1])
            for c, members in enumerate((query & ~adjacent, query & adjacent)):
                rows_of[rows, c] += members.sum(axis=1)
                for total, part in zip(sums, parts, strict=True):
                    total[rows, c] += np.einsum("lmbs,bs->blm", part, members)
    result: dict[str, Any] = {"puzzles": len(puzzles), "segments": list(segments)}
    for c, name in enumerate(CLASSES):
        counts = rows_of[:, c]
        total = counts.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, square, positive, part_L, part_H = sums[:, :, c].sum(axis=1) / total
            deviation = np.sqrt(np.maximum(square - mean**2, 0) * total / (total - 1))
            half_width = 1.96 * deviation / np.sqrt(total)
        per_puzzle = sums[0, :, c]
        ends = bootstrap(per_puzzle, np.broadcast_to(counts[:, None, None], per_puzzle.shape))
        over_layers = per_puzzle.mean(axis=1)
        all_ends = bootstrap(over_layers, np.broadcast_to(counts[:, None], over_layers.shape))
        result[name] = {"queries": int(total), "puzzles": int((counts > 0).sum())}
        for m, measure in enumerate(names):
            result[name][measure] = {
                "all_layers": {
                    "mean": rounded(mean[:, m].mean()),
                    "interval": rounded(all_ends[:, m]),
                },
                "mean": rounded(mean[:, m]),
                "interval": rounded(ends[:, :, m].T),
                "interval_rows": rounded(half_width[:, m]),
                "positive": rounded(positive[:, m]),
                "L": rounded(part_L[:, m]),
                "H": rounded(part_H[:, m]),
            }
    return result
