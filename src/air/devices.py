"""Where the numbers are computed: which device, in which precision, with how many threads."""

from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from air.files import UserError

if TYPE_CHECKING:
    import torch


class ComputeConfig(BaseModel):
    """Where the numbers are computed: the ``compute`` section of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="auto takes cuda if it is there, else cpu"
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
    cuda = torch.cuda.is_available()
    if compute.device == "cuda" and not cuda:
        raise UserError(
            "compute.device: cuda was asked for, but this machine has none; set it to auto or cpu"
        )
    return torch.device("cuda" if cuda and compute.device != "cpu" else "cpu")
