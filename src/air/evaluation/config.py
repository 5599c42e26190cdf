"""How a model is evaluated: the ``evaluation`` section of a task."""

from pydantic import BaseModel, ConfigDict, Field


class EvaluationConfig(BaseModel):
    """How the test puzzles are run."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    puzzles: int | None = Field(None, gt=0, description="first so many test puzzles; null for all")
    batch_size: int = Field(256, gt=0)
    segments: int | None = Field(
        None, gt=0, le=128, description="how far a rollout goes; null for model.max_segments"
    )
