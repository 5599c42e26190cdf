"""Which models the explorer carries: the ``explore`` section of a task in params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class ExploreConfig(BaseModel):
    """``explore`` of a task in params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    variants: list[str] | None = Field(
        None, description="variants on the page; null: those of probes.rollout"
    )
    seeds: list[int] | None = Field(
        None, description="training runs on the page; null: the first of probes.rollout"
    )
    puzzles: int = Field(20, gt=0, le=1000, description="first so many test puzzles to choose from")
