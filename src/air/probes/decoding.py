"""The boards that z_L and z_H show after every sub-step of a rollout."""

from collections.abc import Iterator

import torch
from torch import Tensor

from air.model.halting import tensors
from air.model.network import AIR, Level, Observer, Update
from air.progress import Progress
from air.tasks.task import Puzzles


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
            else:
                boards.append(self.model.decode(z).argmax(dim=-1).to(torch.uint8))


@torch.inference_mode()
def decoded_rollout(
    model: AIR, inputs: Tensor, segments: int, frozen: Level | None = None
) -> dict[Level, Tensor]:
    """Boards of both states after every sub-step, uint8 ``[T, B, S]``, T = segments x updates.

    Args:
        inputs: tokens [B, S] on the model's device.
        frozen: a state that keeps its initial value throughout.
    """
    recorder = BoardRecorder(model)
    x = model.embed(inputs)
    z_L, z_H = model.fresh_states(len(inputs))
    for _ in range(segments):
        z_L, z_H = model.segment(x, z_L, z_H, frozen, recorder)
    return {level: torch.stack(boards) for level, boards in recorder.boards.items()}


def in_batches(
    puzzles: Puzzles, batch_size: int, device: torch.device, label: str
) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """(rows, inputs, labels) batch by batch, boards int64 [B, S] on ``device``, with progress."""
    with Progress(label, len(puzzles), "puzzles") as progress:
        for start in range(0, len(puzzles), batch_size):
            rows = slice(start, min(start + batch_size, len(puzzles)))
            inputs, labels = tensors(puzzles.inputs[rows], puzzles.labels[rows])
            yield rows, inputs.to(device), labels.to(device)
            progress.advance(rows.stop - rows.start)
