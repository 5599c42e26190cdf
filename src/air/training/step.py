"""A training step: a segment in every slot, halting (adaptive computation time), the losses.

A batch is a row of slots. Each step runs one segment in every slot; a slot whose puzzle has halted
takes the next puzzle and fresh states at the next step.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from air.model.boards import IGNORED, stablemax
from air.model.network import AIR, Gradient

# Each summed over slots and divided by B; total = lm + (q_halt + q_continue) / 2.
LOSSES = ("total", "lm", "q_halt", "q_continue")


@dataclass
class Carry:
    """What the slots hold between steps, detached: states [B, P, d], boards [B, S], flags [B]."""

    z_L: Tensor
    z_H: Tensor
    inputs: Tensor
    labels: Tensor
    steps: Tensor  #: segments that the slot's puzzle has run
    halted: Tensor  #: the slot takes a new puzzle at the next step


@dataclass
class Outcome:
    """What a step gives: losses, and per slot [B], before it is refilled, how its puzzle stands."""

    losses: Tensor  #: [4], see LOSSES; backward from the first
    halted: Tensor
    steps: Tensor
    solved: Tensor  #: every supervised cell right (True if there is none)
    cell_accuracy: Tensor  #: share of supervised cells that are right
    target_q_continue: Tensor


def stablemax_cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """-log stablemax(logits)[label]: [B, S, V], [B, S] -> [B, S]; 0 where the label is IGNORED."""
    label = labels.clamp(min=0).long().unsqueeze(-1)
    log_probability = torch.log(stablemax(logits)).gather(-1, label).squeeze(-1)
    return -log_probability * (labels != IGNORED)


def fresh_carry(model: AIR, inputs: Tensor, labels: Tensor) -> Carry:
    """A carry whose slots are all halted, so that the first step fills them; boards are [B, S]."""
    z_L, z_H = model.fresh_states(len(inputs))
    steps = torch.zeros(len(inputs), dtype=torch.int32, device=inputs.device)
    return Carry(z_L.detach(), z_H.detach(), inputs, labels, steps, torch.ones_like(steps).bool())


def refill(model: AIR, carry: Carry, inputs: Tensor, labels: Tensor) -> Carry:
    """Give every halted slot the puzzle offered to it (boards [B, S]) and fresh states."""
    halted = carry.halted
    z_L, z_H = model.fresh_states(len(inputs))
    board, state = halted[:, None], halted[:, None, None]
    return Carry(
        torch.where(state, z_L, carry.z_L),
        torch.where(state, z_H, carry.z_H),
        torch.where(board, inputs, carry.inputs),
        torch.where(board, labels, carry.labels),
        torch.where(halted, 0, carry.steps),
        torch.zeros_like(halted),
    )


def training_step(
    model: AIR,
    carry: Carry,
    inputs: Tensor,
    labels: Tensor,
    min_segments: Tensor,
    slots: int | None = None,
    gradient: Gradient = "one_step",
    q_continue: bool = True,
) -> tuple[Carry, Outcome]:
    """Run one segment in every slot and say what it cost.

    Args:
        carry: what the last step left.
        inputs, labels: the puzzles offered to halted slots [B, S].
        min_segments: exploration: segments a slot must run before it may halt [B]; 0 for none.
        slots: what losses are divided by, if this batch is a part of a larger one.
        gradient: which updates carry one, see :meth:`~air.model.network.AIR.segment`.
        q_continue: False leaves out the continue logit, its loss and the forward pass for its
            target; a slot then halts when its halt logit is positive.
    """
    carry = refill(model, carry, inputs, labels)
    x = model.embed(carry.inputs)
    z_L, z_H = model.segment(x, carry.z_L, carry.z_H, gradient=gradient)
    logits, q_halt, q_go_on = model.heads(z_H)

    with torch.no_grad():
        steps = carry.steps + 1
        at_limit = steps >= model.config.max_segments
        target = torch.zeros_like(q_halt)
        if q_continue:  # the target: what the next segment will say is worth
            _, ahead_H = model.segment(x, z_L, z_H)
            _, ahead_halt, ahead_go_on = model.heads(ahead_H)
            ahead = torch.where(at_limit, ahead_halt, torch.maximum(ahead_halt, ahead_go_on))
            target = torch.sigmoid(ahead)
        wants_to_halt = q_halt > (q_go_on if q_continue else 0)
        halted = (at_limit | wants_to_halt) & (steps >= min_segments)
        supervised = carry.labels != IGNORED
        counted = supervised.sum(dim=1)
        right = ((logits.argmax(dim=-1) == carry.labels) & supervised).sum(dim=1)
        solved = right == counted

    cells = counted.clamp(min=1)
    bce = F.binary_cross_entropy_with_logits
    lm = (stablemax_cross_entropy(logits, carry.labels) / cells[:, None]).sum()
    halt = bce(q_halt, solved.to(q_halt.dtype), reduction="sum")
    go_on = bce(q_go_on, target, reduction="sum") if q_continue else torch.zeros_like(halt)
    total = lm + 0.5 * (halt + go_on)
    losses = torch.stack([total, lm, halt.to(lm), go_on.to(lm)]) / (slots or len(inputs))
    after = Carry(z_L.detach(), z_H.detach(), carry.inputs, carry.labels, steps, halted)
    return after, Outcome(losses, halted, steps, solved, right / cells, target)
