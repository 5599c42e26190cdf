"""The puzzles and the exploration of step t, as functions of (seed, t): nothing to replay."""

import numpy as np
import torch
from torch import Tensor

from air.model.boards import tensors
from air.tasks.sampling import generator
from air.tasks.task import Puzzles


def batch_indices(groups: int, batch_size: int, seed: int, step: int) -> tuple[np.ndarray, ...]:
    """(epoch, group) of each slot's offer at ``step`` (from 0), int64 ``[B]`` each.

    The offers are one endless row in which every epoch visits each group once, in an order of its
    own; step t takes places t B to (t + 1) B.
    """
    place = np.arange(step * batch_size, (step + 1) * batch_size)
    epoch, position = np.divmod(place, groups)
    group = np.empty_like(place)
    for number in np.unique(epoch):
        here = epoch == number
        order = generator(seed, "epoch order", int(number)).permutation(groups)
        group[here] = order[position[here]]
    return epoch, group


ALL = slice(None)


def batch(
    puzzles: Puzzles, batch_size: int, seed: int, step: int, share: slice = ALL
) -> tuple[Tensor, Tensor]:
    """Inputs and labels (int64 ``[B, S]``) offered at ``step``: a random member of each group.

    ``share`` is the part of the slots to make, of several processes that make one batch.
    """
    _, group = batch_indices(len(puzzles), batch_size, seed, step)
    members = generator(seed, "member", step).integers(puzzles.task.members, size=batch_size)
    return tensors(*puzzles.draw(group[share], members[share]))


def min_segments(
    batch_size: int, max_segments: int, exploration: float, seed: int, step: int
) -> Tensor:
    """Segments each slot must have run before it may halt at ``step``, int32 ``[B]``.

    With probability ``exploration`` uniform over 2..max_segments, else 0.
    """
    random = generator(seed, "exploration", step)
    explores = random.random(batch_size) < exploration
    drawn = random.integers(min(2, max_segments), max_segments + 1, size=batch_size)
    return torch.from_numpy(np.where(explores, drawn, 0).astype(np.int32))
