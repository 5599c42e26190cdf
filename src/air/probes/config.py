"""What the probes run on: the ``probes`` section of a task in params.yaml."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Index = Annotated[int, Field(ge=0)]


class ProbeConfig(BaseModel):
    """What all probes share."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    variants: list[str] = Field(description="variants to probe, out of the task's variants")
    seeds: list[int] = Field(description="training runs to probe, out of the task's seeds")
    puzzles: int = Field(gt=0, description="first so many test puzzles")
    memory_gib: float = Field(
        2.0, gt=0, description="memory for the puzzles that are run at once; decides how many"
    )


class RolloutConfig(ProbeConfig):
    """``probes.rollout`` of a task in params.yaml."""

    boards: int = Field(10, gt=0, description="first so many puzzles whose boards are kept")
    depth: int | None = Field(
        None,
        gt=0,
        le=256,
        description="segments up to which accuracy is reported; null: max_segments",
    )


class FreezeConfig(ProbeConfig):
    """``probes.freeze`` of a task in params.yaml."""

    later: list[Annotated[int, Field(gt=0)]] = Field(
        [], description="also freeze from the start of these segments on, counted from 0"
    )


class AttentionConfig(ProbeConfig):
    """``probes.attention`` of a task in params.yaml."""

    segments: Annotated[list[Index], Field(min_length=1)] = Field(
        [2, 4, 6, 8, 10, 12, 14, 15], description="segments to look at, counted from 0"
    )
    L_update: Annotated[list[Index], Field(min_length=2, max_length=2)] = Field(
        [0, 0], description="H-cycle and L-cycle of the L-update to look at"
    )
    H_update: Index = Field(0, description="H-cycle of the H-update to look at")
    maps: int = Field(4, ge=0, description="first so many puzzles of which one cell's map is kept")


class EmergenceConfig(ProbeConfig):
    """``probes.emergence`` of a task in params.yaml; without the section no run is probed."""

    variants: list[str] = Field([], description="variants to probe at each of their snapshots")
    seeds: list[int] = Field([], description="training runs to probe")
    puzzles: int = Field(256, gt=0, description="first so many test puzzles")
    segments: Annotated[list[Index], Field(min_length=1)] = Field(
        [2, 4, 6, 8, 10, 12, 14, 15], description="segments to look at, counted from 0"
    )


class ProbesConfig(BaseModel):
    """``probes`` of a task in params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    rollout: RolloutConfig
    freeze: FreezeConfig
    attention: AttentionConfig
    emergence: EmergenceConfig = EmergenceConfig()
