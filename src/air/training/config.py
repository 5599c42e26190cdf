"""How a model is trained: the ``train`` section of a task."""

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Beta = Annotated[float, Field(ge=0, lt=1)]
SnapshotPrecision = Literal["bfloat16", "float32"]


class TrainConfig(BaseModel):
    """The training recipe; defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    steps: int | None = Field(
        None, gt=0, description="optimiser steps, one segment of every slot each; or epochs"
    )
    epochs: int | None = Field(None, gt=0, description="offers of each group; or steps")
    batch_size: int = Field(768, gt=0, description="slots, of all processes together")
    lr: float = Field(1e-4, gt=0, description="learning rate after the warm-up")
    warmup_steps: int = Field(2000, ge=0, description="steps of linear warm-up")
    schedule: Literal["constant", "cosine"] = Field(
        "constant", description="after the warm-up: constant, or a cosine down to lr * lr_final"
    )
    lr_final: float = Field(1.0, ge=0, le=1, description="last learning rate as a share of lr")
    weight_decay: float = Field(1.0, ge=0)
    betas: tuple[Beta, Beta] = Field((0.9, 0.95), strict=False)
    puzzle_lr: float = Field(1e-4, ge=0, description="SignSGD of the puzzle embedding")
    puzzle_weight_decay: float = Field(1.0, ge=0)
    exploration: float = Field(
        0.1,
        ge=0,
        le=1,
        description="probability that a slot must run a randomly drawn minimum number of segments",
    )
    q_continue: bool = Field(
        True,
        description="false: no continue logit, no look ahead; a slot halts if its halt logit > 0",
    )
    gradient: Literal["one_step", "last_cycle", "full"] = Field(
        "one_step", description="which updates of a segment receive gradients; paper: one_step"
    )
    clip: float | None = Field(None, gt=0, description="maximum gradient norm; null: no clipping")
    ema: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="decay of the exponential moving average of the weights; the averaged weights "
        "are saved",
    )
    log_every: int = Field(100, gt=0, description="steps per row of training.csv")
    validation: int = Field(
        0, ge=0, description="training groups (the last ones) held out, to be measured at each row"
    )
    snapshots: int | list[int] | None = Field(
        None,
        description="steps at which the weights are kept (0: before the first), or how many, "
        "spread evenly over the logarithm of the step from 0 to the last; null: none",
    )
    snapshot_precision: SnapshotPrecision = Field(
        "float32", description="in which snapshots are kept; bfloat16 is half as large"
    )
    processes: int = Field(1, gt=0, description="processes that share the slots, a device for each")

    @model_validator(mode="after")
    def _fits(self) -> "TrainConfig":
        if self.schedule == "constant" and self.lr_final != 1.0:
            raise ValueError("lr_final is for schedule: cosine; leave it out with constant")
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.batch_size % self.processes:
            raise ValueError(
                f"batch_size {self.batch_size} does not divide among {self.processes} processes"
            )
        if self.steps is not None:
            self.snapshot_steps(self.steps)
        return self

    def total_steps(self, groups: int) -> int:
        """Optimiser steps for so many training groups: ``epochs`` offers of each, rounded down."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return max(self.epochs * groups // self.batch_size, 1)

    def snapshot_steps(self, steps: int) -> list[int]:
        """The steps, out of 0 to ``steps``, at which the weights are kept, ascending.

        Raises:
            ValueError: ``snapshots`` asks for a step twice, out of order or that is not run.
        """
        if self.snapshots is None:
            return []
        if isinstance(self.snapshots, int):
            return list(_spread(self.snapshots, steps))
        _check_ascending(self.snapshots, steps)
        return list(self.snapshots)


def _spread(number: int, last: int) -> Iterator[int]:
    """0, then steps evenly over the logarithm from 1 to ``last``, rounded to distinct ones."""
    if not 2 <= number <= last + 1:
        raise ValueError(
            f"snapshots: {number} is not allowed: there may be 2 (step 0 and the last) to "
            f"{last + 1} in {last} steps"
        )
    step = 0
    yield step
    for place in range(1, number):
        exponent = (place - 1) / (number - 2) if number > 2 else 1.0
        # early steps lie closer together than whole numbers do
        step = max(step + 1, round(math.exp(exponent * math.log(last))))
        yield step


def _check_ascending(snapshots: Sequence[int], last: int) -> None:
    for before, after in pairwise(snapshots):
        if before == after:
            raise ValueError(f"snapshots: {after} is listed twice")
        if before > after:
            raise ValueError(f"snapshots: {before} comes before {after}; sort the steps")
    for step in snapshots:
        if not 0 <= step <= last:
            raise ValueError(f"snapshots: {step} is not allowed: steps go from 0 to {last}")
