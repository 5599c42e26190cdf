"""Which device, in which precision, with how many threads."""

import torch

from air.files import UserError
from air.training.config import ComputeConfig


def prepare(compute: ComputeConfig) -> torch.device:
    """Fix the threads, ask for deterministic kernels, and find the device.

    Raises:
        UserError: the device asked for is not on this machine.
    """
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
