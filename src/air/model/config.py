"""The sizes of a model: the ``model`` section of a task in params.yaml."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelConfig(BaseModel):
    """Sizes of f and of a segment; defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    layers: int = Field(4, gt=0, description="Transformer blocks in f")
    hidden_size: int = Field(512, gt=0, description="width d of the states")
    heads: int = Field(8, gt=0, description="attention heads")
    expansion: float = Field(
        4.0, gt=0, description="inner width of SwiGLU: expansion * d * 2/3 ..."
    )
    inner_multiple: int = Field(256, gt=0, description="... rounded up to a multiple of this")
    positions: Literal["rope", "learned", "both"] = Field(
        "rope", description="position code; the paper's is rope"
    )
    H_cycles: int = Field(2, gt=0, description="H-updates per segment")
    L_cycles: int = Field(2, gt=0, description="L-updates before each H-update")
    max_segments: int = Field(16, gt=0, description="segments of a rollout; halting's upper limit")

    @model_validator(mode="after")
    def _fits(self) -> "ModelConfig":
        if self.hidden_size % self.heads or self.hidden_size // self.heads % 2:
            raise ValueError(
                f"hidden_size {self.hidden_size} with heads {self.heads} is not allowed: "
                "hidden_size / heads must be a whole, even number"
            )
        return self

    @property
    def inner_size(self) -> int:
        """Inner width of SwiGLU."""
        width = round(self.expansion * self.hidden_size * 2 / 3)
        return -(-width // self.inner_multiple) * self.inner_multiple

    @property
    def updates_per_segment(self) -> int:
        """Sub-steps of a segment, each a call of f."""
        return self.H_cycles * (self.L_cycles + 1)
