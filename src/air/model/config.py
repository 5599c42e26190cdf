"""The sizes of a model: the ``model`` section of a task in params.yaml."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ModelConfig(BaseModel):
    """Sizes of f and of a segment; defaults are the paper's."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    # mixing and slots, which TRM needs, are written only where they are not the paper's, so that
    # the files of other models keep their bytes
    layers: int = Field(4, gt=0, description="Transformer blocks in f")
    hidden_size: int = Field(512, gt=0, description="width d of the states")
    heads: int = Field(8, gt=0, description="attention heads")
    mixing: Literal["attention", "mlp"] = Field(
        "attention",
        description="what mixes the positions in a block: attention, or (mlp, as in TRM's mlp_t) a "
        "SwiGLU over the positions, which takes positions none or learned",
        exclude_if=lambda mixing: mixing == "attention",
    )
    expansion: float = Field(
        4.0, gt=0, description="inner width of SwiGLU: expansion * d * 2/3 ..."
    )
    inner_multiple: int = Field(256, gt=0, description="... rounded up to a multiple of this")
    positions: Literal["rope", "learned", "both", "none"] = Field(
        "rope", description="position code; the paper's is rope"
    )
    slots: int = Field(
        1,
        gt=0,
        le=1024,
        description="positions in front of the board: the puzzle embedding's, then empty ones",
        exclude_if=lambda slots: slots == 1,
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
        if self.mixing == "mlp" and self.positions not in ("none", "learned"):
            raise ValueError(
                f"positions {self.positions} with mixing mlp is not allowed: RoPE turns queries "
                "and keys of attention, and there are none; take positions none or learned"
            )
        return self

    def inner_size(self, width: int) -> int:
        """Inner width of a SwiGLU over ``width`` entries."""
        inner = round(self.expansion * width * 2 / 3)
        return -(-inner // self.inner_multiple) * self.inner_multiple

    @property
    def updates_per_segment(self) -> int:
        """Sub-steps of a segment, each a call of f."""
        return self.H_cycles * (self.L_cycles + 1)
