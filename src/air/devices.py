"""The device that computes, its precision and its number of threads."""

import ctypes
import logging
import os
import shutil
import sys
import sysconfig
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from filelock import FileLock, Timeout
from pydantic import BaseModel, ConfigDict, Field

from air.files import UserError

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)


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


_held: dict[str, FileLock] = {}  # the devices this process has taken, by name


def prepare(compute: ComputeConfig, processes: int = 1) -> "torch.device":
    """Fix the threads, ask for deterministic kernels, and take a device.

    A GPU is taken for this job alone; one that is to start several ``processes`` takes one for each
    and shows them, and no others, to those.

    Raises:
        UserError: the device of params.yaml is not on this machine, or there are too few.
    """
    import torch

    chosen: str = compute.device
    why = ""
    if chosen in ("auto", "cuda"):
        there, why = _cuda()
        chosen = "cuda" if there else "cpu" if chosen == "auto" else ""
    elif chosen == "mps" and not torch.backends.mps.is_available():
        chosen = ""
    if not chosen:
        raise UserError(
            f"compute.device: {compute.device} is configured, but this machine has none"
            f"{f' ({why})' if why else ''}; set it to auto or cpu"
        )
    device = torch.device(chosen)
    if chosen == "cuda":
        if "LOCAL_RANK" in os.environ:  # one of several, which sees what was taken for all
            index = int(os.environ["LOCAL_RANK"])
        else:
            count = torch.cuda.device_count()
            if processes > count:
                raise UserError(
                    f"params.yaml: train.processes: {processes} are configured, but this machine "
                    f"has {count} GPU(s)"
                )
            names = [f"GPU-{torch.cuda.get_device_properties(i).uuid}" for i in range(count)]
            taken = take(names, processes)
            index = taken[0]
            if processes > 1:
                os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(names[i] for i in taken)
        device = torch.device("cuda", index)
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


def _cuda() -> tuple[bool, str]:
    """Whether there is a GPU for CUDA, and what PyTorch complains of if there is none.

    A machine without one is no fault where the device is ``auto``, so no warning is shown.
    """
    import torch

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        there = torch.cuda.is_available()
    why = "; ".join(str(warning.message) for warning in caught)
    if why:
        log.debug("CUDA: %s", why)
    return there, why


def take(names: Sequence[str], count: int, folder: Path | None = None) -> list[int]:
    """Places of ``count`` devices that no other job of this user has, taken until this one ends.

    Asked again, a process is given what it has.

    Waits while too few are free, so that jobs side by side share a machine whatever started them.
    However this process ends, its devices are free then: the locks are the system's.

    Args:
        names: of the devices, the same to every job (a place is not: a cluster may number anew).
    """
    folder = folder or Path(tempfile.gettempdir(), f"air-devices-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True)
    waited = False
    while True:
        taken: dict[str, FileLock] = {}
        for name in names:
            lock = _held.get(name) or FileLock(folder / f"{name}.lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                continue
            taken[name] = lock
            if len(taken) == count:
                _held.update(taken)
                return [names.index(name) for name in taken]
        for lock in taken.values():  # all or none: two jobs that each hold half would wait forever
            lock.release()
        if not waited:
            log.info("waiting for %d of %d GPU(s): other jobs have them", count, len(names))
            waited = True
        time.sleep(0.5 + 0.5 * (os.getpid() % 7) / 7)  # out of step with others who wait


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
