"""Boards as the model takes them, and its logits as probabilities."""

import numpy as np
import torch
from torch import Tensor

PADDING = 0  # the token of cells that no task shows or supervises
IGNORED = -100  # label of a cell that is not supervised


def tensors(inputs: np.ndarray, labels: np.ndarray) -> tuple[Tensor, Tensor]:
    """Boards (uint8 [B, S]) as the model takes them, int64; padded labels become IGNORED."""
    supervised = np.where(labels == PADDING, IGNORED, labels.astype(np.int64))
    return torch.from_numpy(inputs.astype(np.int64)), torch.from_numpy(supervised)


def stablemax(logits: Tensor) -> Tensor:
    """s / sum s with s(x) = x + 1 for x >= 0 else 1 / (1 - x), in float64: [..., V] -> [..., V].

    (Prieto et al. 2025; float32 on Apple's GPUs, which have nothing wider.)
    """
    x = logits.to(torch.float32 if logits.device.type == "mps" else torch.float64)
    s = torch.where(x < 0, 1 / (1 - x.clamp(max=0)), x + 1)
    return s / s.sum(dim=-1, keepdim=True)
