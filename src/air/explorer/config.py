"""Which models the explorer carries: the ``explore`` section of a task in params.yaml."""

from pydantic import BaseModel, ConfigDict, Field


class ExploreConfig(BaseModel):
    """``explore`` of a task in params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    variants: list[str] | None = Field(
        None,
        description="variants on the page, besides all imported models; null: those of "
        "probes.rollout",
    )
    seeds: list[int] | None = Field(
        None, description="training runs on the page; null: the first of probes.rollout"
    )
    puzzles: int = Field(20, gt=0, le=1000, description="first so many test puzzles to choose from")
    megabytes: float = Field(
        2.5,
        gt=0,
        le=1000,
        description="what the task's models may add to the page, each an equal part; one that does "
        "not fit into its part (16/3 bytes per parameter) is shown by recorded rollouts",
    )

    def most_parameters(self, models: int) -> int:
        """The largest of so many models that runs in the page: float32, in base64."""
        return int(self.part(models) * 3 / 16)

    def part(self, models: int) -> float:
        """Bytes of the page that each of so many models may take."""
        return self.megabytes * 1e6 / models
