"""Several processes that train one model: each holds a share of the slots, all the same weights."""

import logging
import os
import signal
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor

# Without a word for so long, a process is taken for dead. One that has died is noticed at once, by
# torchrun; this is for one that hangs, and longer than saving or compiling takes.
TIMEOUT = timedelta(minutes=10)
LOST = 75  # exit status of a process that has lost another
ASKED = (signal.SIGTERM, signal.SIGINT)


class PeerLost(Exception):
    """Another process of the run does not answer."""


class Ranks:
    """This process among those of its run; alone unless :meth:`join` finds others."""

    def __init__(self, rank: int = 0, count: int = 1) -> None:
        self.rank, self.count = rank, count

    @classmethod
    def join(cls, device: torch.device) -> "Ranks":
        """Meet the other processes, if torchrun's environment tells of any."""
        if not launched():
            return cls()
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        return cls(dist.get_rank(), dist.get_world_size())

    def leave(self) -> None:
        if self.count > 1:
            dist.destroy_process_group()

    def share(self, slots: int) -> slice:
        """Which of ``slots`` slots are this process's."""
        each = slots // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def sum(self, tensor: Tensor) -> Tensor:
        """The sum of every process's tensor, in place."""
        if self.count > 1:
            with _heard():
                dist.all_reduce(tensor)
        return tensor

    def sum_gradients(self, parameters: Iterable[Tensor]) -> None:
        """Give every process the sum of all gradients, in one message."""
        if self.count == 1:
            return
        gradients = [p.grad for p in parameters if p.grad is not None]
        flat = self.sum(torch.cat([gradient.reshape(-1) for gradient in gradients]))
        parts = flat.split([gradient.numel() for gradient in gradients])
        for gradient, part in zip(gradients, parts, strict=True):
            gradient.copy_(part.view_as(gradient))

    def gather(self, tensor: Tensor) -> Tensor:
        """All shares of a tensor of slots, in order."""
        if self.count == 1:
            return tensor
        sent = tensor.to(torch.uint8) if tensor.dtype == torch.bool else tensor
        shares = [torch.empty_like(sent) for _ in range(self.count)]
        with _heard():
            dist.all_gather(shares, sent.contiguous())
        return torch.cat(shares).to(tensor.dtype)

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is up in any process."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(int(flag), device=device)).item())


@contextmanager
def _heard() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise PeerLost(str(error).splitlines()[0]) from None


def launched() -> bool:
    """Whether this process is one of several that torchrun has started."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def launch(processes: int, arguments: list[str]) -> tuple[int, str]:
    """Start ``air`` with these arguments in several processes: (exit status, what to say)."""
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)  # it says all in tracebacks
    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        run_id=f"air-{os.getpid()}",
        nproc_per_node=processes,
        rdzv_backend="c10d",
        rdzv_endpoint="127.0.0.1:0",
        max_restarts=0,
        monitor_interval=0.5,
    )
    try:
        elastic_launch(config, sys.executable)("-m", "air.cli", *arguments)
    except SignalException:
        return 130, ""
    except ChildFailedError as error:
        codes = [failure.exitcode for failure in error.failures.values()]
        told = [code for code in codes if code > 0 and code not in (LOST, 130)]
        killed = [signal.Signals(-code).name for code in codes if code < 0 and -code not in ASKED]
        if killed or (LOST in codes and not told):
            how = f"died ({killed[0]})" if killed else "died or stopped answering"
            return 1, (
                f"one process {how} and the others were stopped; run again to resume from the "
                "last saved state"
            )
        if all(code == 130 or -code in ASKED for code in codes):
            return 130, ""  # as the first process has said
        return max(told), ""  # it has said why, and the others have lost it
    return 0, ""
