"""Attention (claim C5): is an L-update's attention more local than an H-update's?

At an L-update and an H-update (the paper: the first ones) of chosen segments, in every layer, each
head's attention is restricted to the content cells and renormalised; masses and entropies are taken
per head and averaged over heads. Per query cell, three contrasts::

    d_<neighbourhood> = (mass_L - mass_H) / divisor      (Sudoku: nbr; Maze: nbr4, nbr8, win5)
    d_ent = entropy_H - entropy_L                         (entropies divided by log of the cells)
    d_viol = mass_L - mass_H on violations of the board that z_H shows after that H-update

Where the first neighbourhood has parts (Sudoku: row, column, box), the mass on each gives a
contrast of the same form. Of the first puzzles, one query cell's attention on every cell is kept
to be looked at. A model whose blocks mix the positions by an MLP has no attention, and nothing of
this.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from air.model.layers import AttentionHook, widen
from air.model.network import AIR, Observer, Update
from air.probes import OutOfRange
from air.probes.decoding import CPU, in_batches, within
from air.probes.statistics import bootstrap, rounded
from air.results.attention import AttentionMeasures, Cells, Contrast, Maps, Overall
from air.tasks.task import Neighbourhood, Puzzles, Task

FIRST = (Update("L", 0, 0), Update("H", 0, 0))  # of a segment: the paper's choice
CLASSES = ("control", "adjacent")
MANY_CELLS = 256  # from so many on the logarithms of attention's shares cost more than its products


@dataclass
class Contrasts:
    """``measures`` is attention.json; ``maps`` is attention.npz."""

    measures: AttentionMeasures
    maps: Maps


class AttentionCapture(Observer):
    """Reduces the attention of the captured updates of one segment as it is made.

    After the segment, ``measures`` is ``[2 (L, H), layers, measures, B, S]``: the mass on each
    neighbourhood, the entropy, the mass on violations; ``parts`` is ``[2, layers, parts, B, S]``:
    the mass on each part of the first neighbourhood. ``adjacent`` (bool ``[B, S]``) says which
    cells have a violation among their peers. ``rows`` is ``[2, layers, B, heads, S]``: how the
    cells ``query`` ([B]) attend, ``mean_rows`` (``[2, layers, B, S]``) their mean over heads;
    ``board`` and ``violations`` ([B, S]) are z_H's and its conflicts.
    """

    def __init__(
        self,
        model: AIR,
        task: Task,
        labels: np.ndarray,
        query: Tensor,
        updates: tuple[Update, Update],
    ) -> None:
        self.model, self.task, self.labels, self.updates = model, task, labels, updates
        self.query = query
        dtype = model.H_init.dtype  # float32, or float64 in a float64 model

        def matrix(cells: np.ndarray) -> Tensor:
            return torch.from_numpy(cells).to(query.device, dtype)

        self.z_H: Tensor  # after the captured H-update
        self.pending = len(updates)
        self.near = torch.stack([matrix(n.matrix) for n in task.neighbourhoods.values()])
        self.within = [matrix(part) for part in nearest(task).parts.values()]
        self.reach, self.peers = matrix(task.violation_reach), matrix(task.peers)
        self.masses: dict[Update, list[Tensor]] = {update: [] for update in updates}
        self.on_parts: dict[Update, list[Tensor]] = {update: [] for update in updates}
        self.maps: dict[Update, list[Tensor]] = {update: [] for update in updates}
        self.of_query: dict[Update, list[Tensor]] = {update: [] for update in updates}
        self.mean_of_query: dict[Update, list[Tensor]] = {update: [] for update in updates}

    def attention(self, update: Update) -> AttentionHook | None:
        if update not in self.updates:
            return None

        def reduce(layer: int, queries: Tensor, keys: Tensor) -> None:
            lead = self.model.attention_lead
            q, k = widen(queries[:, :, lead:]), widen(keys[:, :, lead:])
            # a softmax over the content alone is the full one, restricted and renormalised
            scores = (q @ k.transpose(-1, -2)).div_(q.shape[-1] ** 0.5)
            share = torch.softmax(scores, dim=-1)
            entropy = entropies(share).mean(dim=1) / np.log(self.task.cells)
            mean = share.mean(dim=1)
            mass = torch.einsum("bij,kij->kbi", mean, self.near)
            self.masses[update].append(torch.cat([mass, entropy[None]]))
            if self.within:
                on_parts = [torch.einsum("bij,ij->bi", mean, part) for part in self.within]
                self.on_parts[update].append(torch.stack(on_parts))
            self.maps[update].append(mean * self.reach)
            each = torch.arange(len(mean))
            self.of_query[update].append(share[each, :, self.query])
            self.mean_of_query[update].append(mean[each, self.query])

        return reduce

    def after(self, update: Update, z_L: Tensor, z_H: Tensor) -> None:
        if update == self.updates[1]:
            self.z_H = z_H
        self.pending -= update in self.updates
        if update not in self.updates or self.pending:
            return  # an L-update may come after the H-update whose board counts
        self.board = self.model.decode(self.z_H).argmax(dim=-1).cpu().numpy().astype(np.uint8)
        self.violations = self.task.violations(self.board, self.labels)
        wrong = torch.from_numpy(self.violations).to(self.near)
        self.adjacent = (wrong @ self.peers > 0).cpu().numpy()
        measured = [
            [
                torch.cat([part, torch.einsum("bij,bj->bi", map_, wrong)[None]])
                for part, map_ in zip(self.masses[update], self.maps[update], strict=True)
            ]
            for update in self.updates
        ]
        self.measures = torch.stack([torch.stack(layers) for layers in measured]).cpu().numpy()
        shape = (2, len(self.measures[0]), 0, *self.board.shape)  # without parts
        self.parts = self._stacked(self.on_parts) if self.within else np.zeros(shape)
        self.rows = self._stacked(self.of_query).astype(np.float32)
        self.mean_rows = self._stacked(self.mean_of_query).astype(np.float32)
        self.maps.clear()  # large, and of no use any more

    def _stacked(self, of: dict[Update, list[Tensor]]) -> np.ndarray:
        """What was noted of each update and layer: ``[2, layers, ...]``."""
        stacked = torch.stack([torch.stack(of[update]) for update in self.updates])
        found: np.ndarray = stacked.cpu().numpy()
        return found


def entropies(share: Tensor) -> Tensor:
    """-sum p ln p over the last dimension of shares ``[..., cells]``."""
    if share.shape[-1] < MANY_CELLS:
        return torch.special.entr(share).sum(dim=-1)
    # entr takes one logarithm at a time on a CPU, log as many as a register holds; of a share of
    # 0, whose part is 0, it takes that of the smallest number
    logarithm = share.clamp(min=torch.finfo(share.dtype).tiny).log_()
    return -(logarithm.mul_(share)).sum(dim=-1)


def captures_of(
    model: AIR,
    task: Task,
    inputs: Tensor,
    labels: Tensor,
    updates: tuple[Update, Update] = FIRST,
) -> Callable[[], AttentionCapture]:
    """What makes a capture for a segment of these puzzles (boards [B, S] on the model's device)."""
    targets = labels.cpu().numpy().astype(np.uint8)
    query = torch.from_numpy(central_query(task, inputs.cpu().numpy(), targets)).to(inputs.device)
    return partial(AttentionCapture, model, task, targets, query, updates)


@torch.inference_mode()
def captured(
    model: AIR,
    task: Task,
    inputs: Tensor,
    labels: Tensor,
    segments: Sequence[int],
    updates: tuple[Update, Update] = FIRST,
) -> Iterator[AttentionCapture]:
    """What :class:`AttentionCapture` holds after each of ``segments``, in order."""
    x = model.embed(inputs)
    z_L, z_H = model.fresh_states(len(inputs))
    fresh_capture = captures_of(model, task, inputs, labels, updates)
    for segment in range(max(segments) + 1):
        if segment in segments:
            capture = fresh_capture()
            z_L, z_H = model.segment(x, z_L, z_H, observer=capture)
            yield capture
        else:
            z_L, z_H = model.segment(x, z_L, z_H)


def nearest(task: Task) -> Neighbourhood:
    """The task's first neighbourhood, the one that claims and maps are about."""
    return next(iter(task.neighbourhoods.values()))


def central_query(task: Task, inputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """``[B]``: the query cell nearest to the board's middle, chosen before any result is seen."""
    row, column = np.divmod(np.arange(task.cells), task.columns)
    away = (row - (task.rows - 1) / 2) ** 2 + (column - (task.columns - 1) / 2) ** 2
    query = task.query_cells(inputs, labels)
    return np.where(query, away, np.inf).argmin(axis=1)


def attention(
    model: AIR,
    puzzles: Puzzles,
    segments: Sequence[int],
    memory_gib: float = 2.0,
    device: torch.device = CPU,
    updates: tuple[Update, Update] = FIRST,
    maps: int = 4,
    label: str = "attention",
) -> Contrasts:
    """Contrasts per class of query cell, one value per layer, and what the first puzzles look like.

    ``segments`` (counted from 0, in any order) and ``updates`` (one of each level) select the
    updates to measure; ``maps`` is the number of puzzles for which one cell's attention is kept.

    Raises:
        OutOfRange: a ValueError: the model has no attention (:func:`has_attention`), no such
            segment or update, or there are no puzzles.
    """
    _check(model, segments, updates)
    segments = sorted(set(segments))
    model = model.eval().to(device)
    task = puzzles.task
    tally = ContrastTally(model, puzzles)
    names = ("attention", "board", "violations", "heads")
    kept: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label, maps=True):
        first = slice(max(maps - rows.start, 0))
        seen: dict[str, list[np.ndarray]] = {name: [] for name in kept}
        for capture in captured(model, task, inputs, labels, segments, updates):
            tally.add(rows, capture)
            seen["attention"].append(np.moveaxis(capture.mean_rows[:, :, first], 2, 0))
            # half the bytes, and enough for a picture
            seen["heads"].append(np.moveaxis(capture.rows[:, :, first], 2, 0).astype(np.float16))
            seen["board"].append(capture.board[first])
            seen["violations"].append(capture.violations[first])
        for name, of_segments in seen.items():
            kept[name].append(np.stack(of_segments, axis=1))
    shown = puzzles.first(maps)
    query = central_query(task, shown.inputs, shown.labels)
    return Contrasts(
        AttentionMeasures(
            puzzles=len(puzzles),
            segments=segments,
            **tally.measures(),
        ),
        Maps(
            inputs=shown.inputs,
            labels=shown.labels,
            query=query,
            near=nearest(task).matrix[query],
            **{name: np.concatenate(batches) for name, batches in kept.items()},
        ),
    )


def has_attention(model: AIR) -> bool:
    """Whether there is attention to look at in a model's blocks."""
    return model.config.mixing == "attention"


class ContrastTally:
    """The contrasts over query cells, by puzzle and class, collected batch by batch.

    ``rows_of`` (``[N, classes]``) counts the query cells.
    """

    def __init__(self, model: AIR, puzzles: Puzzles) -> None:
        self.puzzles = puzzles
        near = puzzles.task.neighbourhoods
        divisors = {f"d_{name}": n.divisor for name, n in near.items()}
        size = (len(puzzles), len(CLASSES), model.config.layers)
        self.sums = _Sums(divisors | {"d_ent": -1.0, "d_viol": 1.0}, size)
        first = nearest(puzzles.task)
        self.on_parts = _Sums({f"d_{name}": first.divisor for name in first.parts}, size)
        self.rows_of = np.zeros((len(puzzles), len(CLASSES)), dtype=np.int64)

    def add(self, rows: slice, capture: AttentionCapture) -> None:
        """Count one segment of the puzzles ``rows``."""
        query = self.puzzles.task.query_cells(self.puzzles.inputs[rows], self.puzzles.labels[rows])
        adjacent = capture.adjacent
        for c, members in enumerate((query & ~adjacent, query & adjacent)):
            self.rows_of[rows, c] += members.sum(axis=1)
            self.sums.add(rows, c, capture.measures, members)
            self.on_parts.add(rows, c, capture.parts, members)

    def measures(self) -> dict[str, Cells]:
        """The contrasts of each class of query cell."""
        return {name: self._of([c]) for c, name in enumerate(CLASSES)}

    def pooled(self) -> Cells:
        """The contrasts of all query cells, whatever their class."""
        return self._of(list(range(len(CLASSES))))

    def _of(self, classes: list[int]) -> Cells:
        """The contrasts of the cells of some classes, together."""
        counts = self.rows_of[:, classes].sum(axis=1)
        contrasts: dict[str, Any] = {**self.sums.contrasts(classes, counts)}
        if self.on_parts.names:
            contrasts["parts"] = self.on_parts.contrasts(classes, counts)
        return Cells(queries=int(counts.sum()), puzzles=int((counts > 0).sum()), **contrasts)


class _Sums:
    """Sums over query cells of contrasts: ``names``, each divided by its ``divisors``.

    ``sums`` is ``[5, N, classes, layers, contrasts]``: of the contrast, its square, its sign, the L
    part and the H part.
    """

    def __init__(self, divisors: dict[str, float], size: tuple[int, int, int]) -> None:
        self.names, self.divisors = list(divisors), np.array(list(divisors.values()))
        self.sums = np.zeros((5, *size, len(divisors)))

    def add(self, rows: slice, c: int, measures: np.ndarray, members: np.ndarray) -> None:
        """Count the cells ``members`` (bool [B, S]), of class ``c``, of the puzzles ``rows``.

        ``measures`` is ``[2 (L, H), layers, contrasts, B, S]``.
        """
        contrast = (measures[0] - measures[1]) / self.divisors[:, None, None]
        parts = (contrast, contrast**2, contrast > 0, measures[0], measures[1])
        for total, part in zip(self.sums, parts, strict=True):
            total[rows, c] += np.einsum("lmbs,bs->blm", part, members)

    def contrasts(self, classes: list[int], counts: np.ndarray) -> dict[str, Contrast]:
        """The contrasts of some classes, of whose cells each puzzle has so many (``[N]``)."""
        sums = self.sums[:, :, classes].sum(axis=2)
        total = counts.sum()
        with np.errstate(invalid="ignore", divide="ignore"):
            mean, square, positive, part_L, part_H = sums.sum(axis=1) / total
            deviation = np.sqrt(np.maximum(square - mean**2, 0) * total / (total - 1))
            half_width = 1.96 * deviation / np.sqrt(total)
        per_puzzle = sums[0]
        ends = bootstrap(per_puzzle, np.broadcast_to(counts[:, None, None], per_puzzle.shape))
        over_layers = per_puzzle.mean(axis=1)
        all_ends = bootstrap(over_layers, np.broadcast_to(counts[:, None], over_layers.shape))
        return {
            name: Contrast(
                all_layers=Overall(
                    mean=rounded(mean[:, m].mean()), interval=rounded(all_ends[:, m])
                ),
                mean=rounded(mean[:, m]),
                interval=rounded(ends[:, :, m].T),
                interval_rows=rounded(half_width[:, m]),
                positive=rounded(positive[:, m]),
                L=rounded(part_L[:, m]),
                H=rounded(part_H[:, m]),
            )
            for m, name in enumerate(self.names)
        }


def _check(model: AIR, segments: Sequence[int], updates: tuple[Update, Update]) -> None:
    """Raise OutOfRange if the model has no attention, or no such segments or updates."""
    config = model.config
    if not has_attention(model):
        raise OutOfRange("the model has no attention: its blocks mix the positions by an MLP")
    if not segments:
        raise OutOfRange("segments: name at least one")
    within("segments", segments, 0, config.max_segments)
    if [update.level for update in updates] != ["L", "H"]:
        raise OutOfRange(f"updates: must be an L-update and an H-update, not {updates}")
    within("H-cycle of an update", [u.H_cycle for u in updates], 0, config.H_cycles)
    within("L-cycle of an update", [updates[0].L_cycle], 0, config.L_cycles)
    within("L-cycle of an H-update", [updates[1].L_cycle], 0, 1)
