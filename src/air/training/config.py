"""How a model is trained and evaluated: the ``train`` and ``evaluation`` sections of a task."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Beta = Annotated[float, Field(ge=0, lt=1)]


class TrainConfig(BaseModel):
    """The training recipe; defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    steps: int = Field(26_041, gt=0, description="optimiser steps, one segment of every slot each")
    batch_size: int = Field(768, gt=0, description="slots")
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
        0.1, ge=0, le=1, description="probability that a slot must run a drawn number of segments"
    )
    log_every: int = Field(100, gt=0, description="steps per row of training.csv")

    @model_validator(mode="after")
    def _fits(self) -> "TrainConfig":
        if self.schedule == "constant" and self.lr_final != 1.0:
            raise ValueError("lr_final is for schedule: cosine; leave it out with constant")
        return self


class EvaluationConfig(BaseModel):
    """How the test puzzles are run."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    puzzles: int | None = Field(None, gt=0, description="first so many test puzzles; null for all")
    batch_size: int = Field(256, gt=0)
