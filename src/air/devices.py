"""Where the numbers are computed: which device, in which precision, with how many threads."""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from air.files import UserError

if TYPE_CHECKING:
    import torch


class ComputeConfig(BaseModel):
    """Where the numbers are computed: the ``compute`` section of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto takes the first of cuda, mps and cpu that is there"
    )
    precision: Literal["float32", "bfloat16", "float64"] = Field(
        "float32", description="of activations; weights are float32 under bfloat16 (the paper's)"
    )
    threads: int = Field(1, gt=0, description="CPU threads per job, whatever the machine has")


def prepare(compute: ComputeConfig) -> "torch.device":
    """Fix the threads, ask for deterministic kernels, and find the device.

    Raises:
        UserError: the device asked for is not on this machine.
    """
    import torch

    torch.set_num_threads(compute.threads)
    torch.use_deterministic_algorithms(True, warn_only=True)
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if compute.device == "auto":
        return torch.device(next(name for name, found in there.items() if found))
    if not there[compute.device]:
        raise UserError(
            f"compute.device: {compute.device} was asked for, but this machine has none; "
            "set it to auto or cpu"
        )
    return torch.device(compute.device)
