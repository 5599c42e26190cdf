"""What a model answers to each puzzle, and when it would have halted."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from air.evaluation.accuracy import batches
from air.model.network import AIR
from air.tasks.task import Puzzles


@dataclass(frozen=True)
class Predicted:
    """Of B puzzles: what is read from z_H, all segments run as in the evaluation."""

    board: np.ndarray  #: after the last segment, uint8 [B, S]
    right: np.ndarray  #: whether it is the answer in every cell, bool [B]
    segments: np.ndarray  #: after how many the model would have halted, [B]
    q_halt: np.ndarray  #: halt logit after each segment, float32 [B, segments]
    q_continue: np.ndarray | None  #: continue logit; None if the model was trained without one


@torch.inference_mode()
def predict(
    model: AIR,
    puzzles: Puzzles,
    batch_size: int,
    device: torch.device,
    label: str = "predictions",
    compiled: bool = False,
    silent: bool = False,
) -> Iterator[Predicted]:
    """What a model that was read from a file says of the puzzles, batch by batch in order.

    A model halts when its halt logit exceeds its continue logit, or 0 if it was trained without
    one (``train.q_continue`` of its origin), and after its last segment in any case.
    """
    q_continue = (model.origin.get("train") or {}).get("q_continue", True)
    model = model.eval().to(device)
    if compiled:
        model.compile_f()
    for count, inputs, labels in batches(
        model, puzzles, batch_size, device, label, compiled, silent
    ):
        x = model.embed(inputs)
        z_L, z_H = model.fresh_states(len(inputs))
        logits: list[Tensor] = []
        for _ in range(model.config.max_segments):
            z_L, z_H = model.segment(x, z_L, z_H)
            heads = model.heads(z_H)
            logits.append(torch.stack([heads.q_halt, heads.q_continue]))
        halt, go_on = torch.stack(logits, dim=-1)[:, :count].float().cpu().numpy()
        wants = halt > (go_on if q_continue else 0)
        wants[:, -1] = True
        board = heads.logits.argmax(dim=-1)[:count]
        yield Predicted(
            board=board.cpu().numpy().astype(np.uint8),
            right=(board == labels[:count]).all(dim=1).cpu().numpy(),
            segments=wants.argmax(axis=1) + 1,
            q_halt=halt,
            q_continue=go_on if q_continue else None,
        )
