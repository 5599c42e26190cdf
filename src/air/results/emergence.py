"""emergence.json and emergence.npz: what the probes measure at every snapshot of a training."""

from itertools import pairwise
from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from air.results.attention import Overall
from air.results.freeze import Effects
from air.results.record import Count, Index, Maybe, MaybeEnds, Record
from air.results.rollout import Boards


class StateAt(Record):
    """One state: ``undecided`` and ``margin`` averaged over sub-steps from its first update on,
    ``distance`` over segments from the second on (see :class:`air.results.rollout.State`).
    """

    undecided: Overall
    margin: Overall
    distance: Overall


class ContrastAt(Record):
    """Attention, L minus H: the mean over layers, and each layer's ``[layers]``."""

    all_layers: Overall
    mean: Annotated[list[Maybe], Field(min_length=1)]
    interval: list[MaybeEnds]


class CellsAt(Record):
    """The contrasts ``d_<neighbourhood>`` of some query cells, by name, the nearest one first."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, ContrastAt]

    queries: Index

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.__pydantic_extra__:
            raise ValueError("has no contrast of a neighbourhood")
        return self

    @property
    def nearest(self) -> tuple[str, ContrastAt]:
        """The contrast on the task's first neighbourhood, the one that claims are about."""
        return next(iter(self.__pydantic_extra__.items()))


class Contrasts(Record):
    """By class of query cell as in attention.json; ``pooled`` is both classes together.

    Early in a training nearly every query cell lies near a violation, so that there are few
    ``control`` cells or none; the pooled contrast is over the same cells at every snapshot.
    """

    control: CellsAt
    adjacent: CellsAt
    pooled: CellsAt


class Snapshot(Record):
    """What the model does after ``step`` optimiser steps.

    ``exact_accuracy`` and ``cell_accuracy`` are of z_H's last board, ``agreement`` is averaged over
    sub-steps; every number is a mean with its 95 % interval over puzzles. A model without attention
    has no ``contrast``.
    """

    step: Index
    exact_accuracy: Overall
    cell_accuracy: Overall
    agreement: Overall
    margin_lead: Overall
    z_L: StateAt
    z_H: StateAt
    contrast: Contrasts | None = None
    effects: Effects

    @property
    def split(self) -> Overall:
        """The pooled contrast on the first neighbourhood, over all layers; nulls without one."""
        if self.contrast is None:
            return Overall(mean=None, interval=[None, None])
        return self.contrast.pooled.nearest[1].all_layers


class EmergenceMeasures(Record):
    """The contents of emergence.json: the snapshots in order of ``step``.

    ``segments`` are those whose attention was looked at, counted from 0.
    """

    puzzles: Count
    segments: Annotated[list[Index], Field(min_length=1)]
    snapshots: Annotated[list[Snapshot], Field(min_length=1)]

    @model_validator(mode="after")
    def _ascending(self) -> Self:
        for before, after in pairwise(self.steps):
            if before >= after:
                raise ValueError(f"snapshots: step {after} comes after step {before}")
        return self

    @property
    def nearest(self) -> str | None:
        """The contrast on the task's first neighbourhood; None of a model without attention."""
        contrast = self.snapshots[0].contrast
        return contrast.pooled.nearest[0] if contrast else None

    @property
    def steps(self) -> list[int]:
        """The step of each snapshot, ascending."""
        return [snapshot.step for snapshot in self.snapshots]


class Strip(Boards):
    """The contents of emergence.npz: what both states show at the end of a rollout.

    The arrays of rollout.npz, with T snapshots in the place of T sub-steps.
    """
