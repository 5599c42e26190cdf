"""The boards that z_L and z_H show after every sub-step of a rollout."""

import resource
import sys
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from air.model.boards import tensors
from air.model.layers import AttentionHook
from air.model.network import AIR, Level, Observer, Update
from air.probes import OutOfRange
from air.progress import Progress
from air.tasks.task import Puzzles

CPU = torch.device("cpu")


def within(name: str, places: Sequence[int], first: int, count: int) -> None:
    """Check places along a rollout, counted from 0.

    Raises:
        OutOfRange: one of ``places`` is not from ``first`` to ``count`` - 1.
    """
    for place in places:
        if not first <= place < count:
            raise OutOfRange(
                f"{name}: {place} is not allowed: the model's go from {first} to {count - 1}"
            )


class BoardRecorder(Observer):
    """Decodes both states (argmax of lm_head on the content) after every update."""

    def __init__(self, model: AIR) -> None:
        self.model = model
        self.boards: dict[Level, list[Tensor]] = {"L": [], "H": []}

    def after(self, update: Update, z_L: Tensor, z_H: Tensor) -> None:
        states: dict[Level, Tensor] = {"L": z_L, "H": z_H}
        for level, z in states.items():
            boards = self.boards[level]
            if boards and level != update.level:  # this update left the state as it was
                boards.append(boards[-1])
                self.same(level)
            else:
                logits = self.model.decode(z)
                boards.append(logits.argmax(dim=-1).to(torch.uint8))
                self.decoded(level, logits)

    def decoded(self, level: Level, logits: Tensor) -> None:
        """Called with the logits of a state that an update has changed: [B, S, V]."""

    def same(self, level: Level) -> None:
        """Called for a state that an update has left as it was."""


class Together(Observer):
    """Two observers of the same updates; the second, which may be None, sees attention."""

    def __init__(self, first: Observer, second: Observer | None) -> None:
        self.first, self.second = first, second

    def attention(self, update: Update) -> AttentionHook | None:
        return self.second.attention(update) if self.second else None

    def after(self, update: Update, z_L: Tensor, z_H: Tensor) -> None:
        self.first.after(update, z_L, z_H)
        if self.second:
            self.second.after(update, z_L, z_H)


@torch.inference_mode()
def decoded_rollout(
    model: AIR, inputs: Tensor, segments: int, frozen: Level | None = None, begin: int = 0
) -> dict[Level, Tensor]:
    """Boards of both states after every sub-step, uint8 ``[T, B, S]``, T = segments x updates.

    Args:
        inputs: tokens [B, S] on the model's device.
        frozen: a state that keeps its value from the start of segment ``begin`` on.
    """
    recorder = BoardRecorder(model)
    x = model.embed(inputs)
    z_L, z_H = model.fresh_states(len(inputs))
    for segment in range(segments):
        z_L, z_H = model.segment(x, z_L, z_H, frozen if segment >= begin else None, recorder)
    return {level: torch.stack(boards) for level, boards in recorder.boards.items()}


def bytes_per_puzzle(model: AIR, maps: bool) -> int:
    """An upper estimate of what one puzzle of a batch holds at once, without gradients.

    ``maps``: with attention maps of every head, and their means over heads for all layers.
    """
    config, positions = model.config, model.attention_lead + model.cells
    item = model.dtype.itemsize
    d = config.hidden_size
    activations = positions * (12 * d + 4 * config.inner_size(d)) * item
    if config.mixing == "mlp":
        scores, maps = 4 * d * config.inner_size(positions) * item, False
    else:  # where attention is written out
        scores = 3 * config.heads * positions**2 * item
    logits = 4 * model.cells * model.vocabulary * 8
    boards = 6 * config.max_segments * config.updates_per_segment * model.cells
    looked_at = 4 * (4 * config.heads + 3 * config.layers) * model.cells**2 if maps else 0
    return activations + scores + logits + boards + looked_at


def in_batches(
    model: AIR,
    puzzles: Puzzles,
    memory_gib: float,
    device: torch.device,
    label: str,
    maps: bool = False,
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """(rows, inputs, labels) batch by batch, boards int64 [B, S] on ``device``, with progress.

    A batch holds as many puzzles as ``memory_gib`` allows; the peak is reported at the end. Until
    then the model's weights are held (:meth:`.AIR.weights_held`).
    """
    if not len(puzzles):
        raise OutOfRange("there are no puzzles to probe the model on")
    fits = int(memory_gib * 2**30 / bytes_per_puzzle(model, maps))
    batch_size = min(max(fits, 1), len(puzzles))
    with model.weights_held(), Progress(label, len(puzzles), "puzzles") as progress:
        for start in range(0, len(puzzles), batch_size):
            rows = slice(start, min(start + batch_size, len(puzzles)))
            inputs, labels = tensors(puzzles.inputs[rows], puzzles.labels[rows])
            yield rows, inputs.to(device), labels.to(device)
            progress.advance(
                rows.stop - rows.start,
                f"{batch_size} at once, peak memory {peak_memory(device) / 2**30:.2f} GiB",
            )


def peak_memory(device: torch.device) -> float:
    """Most bytes so far: of the GPU's memory, or of this process."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(kilobytes if sys.platform == "darwin" else kilobytes * 1024)
