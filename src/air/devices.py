"""Where the numbers are computed: which device, in which precision, with how many threads."""

import ctypes
import os
import shutil
import sys
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, Field

from air.files import UserError

if TYPE_CHECKING:
    import torch


class ComputeConfig(BaseModel):
    """Where the numbers are computed: the ``compute`` section of params.yaml."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)

    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        "auto", description="auto takes cuda if it is there, else cpu; mps: Apple's GPUs"
    )
    precision: Literal["float32", "bfloat16", "float64"] = Field(
        "float32", description="of activations; weights are float32 under bfloat16 (the paper's)"
    )
    threads: int = Field(
        1, gt=0, le=1024, description="CPU threads per job, whatever the machine has"
    )
    compile: Literal["auto", "on", "off"] = Field(
        "auto", description="torch.compile for f; auto: where it is called often enough to pay"
    )
    deterministic: bool = Field(
        True, description="GPU: kernels that repeat themselves bit for bit, some of them slower"
    )


# Compiling f takes 5 to 10 s on a CPU and saves about 1 ms of a call at the smallest sizes, more at
# larger ones (benchmarks/train_step.py), so it pays from about so many calls of f on.
CALLS_TO_COMPILE = 12_000


def prepare(compute: ComputeConfig) -> "torch.device":
    """Fix the threads, ask for deterministic kernels, and find the device.

    Raises:
        UserError: the device asked for is not on this machine.
    """
    import torch

    there = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    chosen = ("cuda" if there["cuda"] else "cpu") if compute.device == "auto" else compute.device
    if not there[chosen]:
        raise UserError(
            f"compute.device: {chosen} was asked for, but this machine has none; "
            "set it to auto or cpu"
        )
    device = torch.device(chosen)
    if chosen == "cuda":  # a process of several takes the device of its number
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
    torch.set_num_threads(compute.threads)
    # on a GPU strictly: asked only to warn, PyTorch keeps attention's faster, unrepeatable gradient
    torch.use_deterministic_algorithms(
        compute.deterministic or device.type == "cpu", warn_only=device.type != "cuda"
    )
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    if compute.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # what cuBLAS needs for it
    _keep_memory()
    return device


def compiles(compute: ComputeConfig, calls: int, device: "torch.device") -> bool:
    """Whether a job that calls f ``calls`` times should compile it.

    A function of the configuration and the machine, never of a timing: the same job always
    computes the same way.
    """
    if compute.compile == "auto":
        return calls >= CALLS_TO_COMPILE and _can_compile(device)
    return compute.compile == "on"


def _can_compile(device: "torch.device") -> bool:
    compiler = os.environ.get("CXX") or ("gcc" if device.type == "cuda" else "g++")
    return (
        shutil.which(compiler) is not None
        and Path(sysconfig.get_path("include"), "Python.h").is_file()
    )


def _keep_memory() -> None:
    """Let glibc keep freed memory: to fetch it anew from the system costs more than small sums."""
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt:
            trim_threshold, mmap_threshold = -1, -3
            mallopt(trim_threshold, 2**31 - 1)
            mallopt(mmap_threshold, 2**30)
