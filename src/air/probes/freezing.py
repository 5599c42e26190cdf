"""Freezing (claim C3): what one state does when the other keeps its value."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from air.model.network import AIR, Level
from air.probes.decoding import CPU, decoded_rollout, in_batches, within
from air.probes.statistics import interval, mean_se, rounded
from air.results.freeze import Changes, Condition, Effect, Effects, FreezeMeasures, Moved
from air.tasks.task import Puzzles

CONDITIONS: dict[str, Level | None] = {"normal": None, "freeze_H": "H", "freeze_L": "L"}
KINDS = ("mask_flips", "content_changes", "token_changes")


class Counted(NamedTuple):
    """Cells that change between consecutive boards, ``[T - 1, B]`` each.

    A mask flip enters or leaves the task's mask token; a token change is any change; a content
    change is a token change without a mask flip.
    """

    mask_flips: Tensor
    content_changes: Tensor
    token_changes: Tensor


def count_changes(boards: Tensor, mask_token: int) -> Counted:
    """Count changes in decoded boards ``[T, B, S]``."""
    masked = boards == mask_token
    flips = masked[1:] != masked[:-1]
    changes = boards[1:] != boards[:-1]
    return Counted(*(kind.sum(dim=2) for kind in (flips, changes & ~flips, changes)))


class Frozen(NamedTuple):
    """Which state keeps its value (None: neither), and from which segment on."""

    frozen: Level | None
    begin: int


def freeze(
    model: AIR,
    puzzles: Puzzles,
    memory_gib: float = 2.0,
    device: torch.device = CPU,
    later: Sequence[int] = (),
    label: str = "freeze",
) -> FreezeMeasures:
    """The contents of freeze.json: one rollout per condition and puzzle.

    ``normal``, ``freeze_H`` and ``freeze_L`` (from the start), and ``freeze_H_from_k``,
    ``freeze_L_from_k`` for every segment k of ``later``. ``effects`` compares the moving state with
    the normal rollout, puzzle by puzzle and from segment k on.

    Raises:
        OutOfRange: a ValueError: ``later`` names a segment that is not from 1 to the model's last,
            or there are no puzzles.
    """
    model = model.eval().to(device)
    within("later", later, 1, model.config.max_segments)
    tally = FreezeTally(model, puzzles, later)
    for rows, inputs, labels in in_batches(model, puzzles, memory_gib, device, label):
        for name in tally.conditions:
            tally.add(rows, name, tally.run(name, inputs), labels)
    return tally.measures()


class FreezeTally:
    """What rollouts under each condition show, collected batch by batch.

    ``changes`` is ``[conditions, 2 (z_L, z_H), kinds, N, T - 1]``, ``exact`` (the last board)
    ``[conditions, 2, N]``.
    """

    def __init__(self, model: AIR, puzzles: Puzzles, later: Sequence[int] = ()) -> None:
        self.model, self.puzzles = model, puzzles
        self.conditions = {name: Frozen(level, 0) for name, level in CONDITIONS.items()}
        for k in later:
            both = {f"freeze_{level}_from_{k}": Frozen(level, k) for level in ("H", "L")}
            self.conditions |= both
        self.names = list(self.conditions)
        self.updates = model.config.updates_per_segment
        self.transitions = model.config.max_segments * self.updates - 1
        shape = (len(self.names), 2, len(KINDS), len(puzzles), self.transitions)
        self.changes = np.zeros(shape, dtype=np.uint16)
        self.exact = np.zeros((len(self.names), 2, len(puzzles)), dtype=bool)

    def run(self, name: str, inputs: Tensor) -> dict[Level, Tensor]:
        """The boards of a rollout under a condition.

        They are those of :func:`~air.probes.decoding.decoded_rollout`.
        """
        frozen, begin = self.conditions[name]
        return decoded_rollout(self.model, inputs, self.model.config.max_segments, frozen, begin)

    def add(self, rows: slice, name: str, shown: dict[Level, Tensor], labels: Tensor) -> None:
        """Count what the puzzles ``rows`` show (uint8 [T, B, S]) under a condition."""
        c = self.names.index(name)
        for s, boards in enumerate((shown["L"], shown["H"])):
            for k, count in enumerate(count_changes(boards, self.puzzles.task.mask_token)):
                self.changes[c, s, k, rows] = count.T.cpu()
            self.exact[c, s, rows] = (boards[-1] == labels).all(dim=1).cpu()

    def measures(self) -> FreezeMeasures:
        """The contents of freeze.json."""
        return FreezeMeasures(
            puzzles=len(self.puzzles),
            transitions=self.transitions,
            effects=self.effects(),
            **{
                name: Condition(
                    z_L=_moved(self.changes[c, 0], self.exact[c, 0]),
                    z_H=_moved(self.changes[c, 1], self.exact[c, 1]),
                )
                for c, name in enumerate(self.names)
            },
        )

    def effects(self) -> Effects:
        """What each freeze changes in the state that moves, compared with the normal rollout."""
        changes = self.changes
        return Effects(
            **{
                # transition t leads from sub-step t to t + 1; the first that freezing can change
                name: _effect(changes[0], changes[c], where, max(where.begin * self.updates - 1, 0))
                for c, (name, where) in enumerate(self.conditions.items())
                if where.frozen is not None
            }
        )


def _moved(changes: np.ndarray, exact: np.ndarray) -> Moved:
    """What a state did: ``changes`` [kinds, N, transitions], its last board right (bool [N])."""
    kinds = {}
    for kind, of_kind in zip(KINDS, changes, strict=True):
        mean, se = mean_se(of_kind.sum(axis=-1))
        kinds[kind] = Changes(
            mean=rounded(mean), se=rounded(se), per_transition=rounded(of_kind.mean(axis=0))
        )
    return Moved(exact_accuracy=rounded(exact.mean()), **kinds)


def _effect(normal: np.ndarray, frozen: np.ndarray, where: Frozen, first: int) -> Effect:
    """Frozen minus normal in the moving state, from transition ``first`` on.

    Args:
        normal, frozen: changes ``[2 (z_L, z_H), kinds, N, transitions]``.
    """
    s = 0 if where.frozen == "H" else 1
    moved = frozen[s, :, :, first:].sum(axis=-1).astype(np.float64)
    difference = moved - normal[s, :, :, first:].sum(axis=-1)
    flips, content = (difference[KINDS.index(k)] for k in ("mask_flips", "content_changes"))
    return Effect(
        state="z_L" if s == 0 else "z_H",
        from_segment=where.begin,
        content_changes=rounded(content.mean()),
        interval=interval(content),
        mask_flips=rounded(flips.mean()),
        mask_flips_interval=interval(flips),
    )
