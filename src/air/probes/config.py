"""What the probes run on: the ``probes`` section of a task in params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class ProbeConfig(BaseModel):
    """What all probes share."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    variants: list[str] = Field(description="variants to probe, out of the task's variants")
    seeds: list[int] = Field(description="training runs to probe, out of the task's seeds")
    puzzles: int = Field(gt=0, description="first so many test puzzles")
    batch_size: int = Field(64, gt=0)


class RolloutConfig(ProbeConfig):
    boards: int = Field(10, gt=0, description="first so many puzzles whose boards are kept")


class FreezeConfig(ProbeConfig):
    pass


class AttentionConfig(ProbeConfig):
    segments: Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1)] = Field(
        [2, 4, 6, 8, 10, 12, 14, 15], description="segments to look at, counted from 0"
    )


class ProbesConfig(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    rollout: RolloutConfig
    freeze: FreezeConfig
    attention: AttentionConfig
