"""The state of an unfinished run, so that nothing is lost when it is stopped.

It lies outside the outputs (which both engines delete before a job), in a folder named by a hash of
everything that determines the run: another configuration or data set never finds it. Two
generations are kept; if the newest is damaged, the one before is used.
"""

import hashlib
import json
import logging
import shutil
from contextlib import suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from air.files import UserError
from air.model.network import AIR
from air.reading import Arrays, read_tensors
from air.training.curve import Averages, Row
from air.training.optim import AdamATan2
from air.training.parallel import Ranks
from air.training.step import Carry
from air.writing import write_tensors

Tensors = dict[str, Tensor]
Header = dict[str, Any]

log = logging.getLogger(__name__)


def run_key(identity: dict[str, Any]) -> str:
    """A name for a run: the hash of what determines it."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


@dataclass
class TrainState:
    """All that the steps to come depend on, as one process holds it.

    Several processes hold the same but for their slots (``carry``) and the sums over them
    (``averages``); the slots and sums of all are saved, in one file.
    """

    model: AIR
    optimizer: AdamATan2  #: SignSGD, of the puzzle embedding, has no state
    mean: Tensors  #: the moving average of the weights, by name; empty without one
    carry: Carry
    averages: Averages  #: of the row of training.csv that is not full yet
    step: int = 0  #: steps done
    rows: list[Row] = field(default_factory=list)

    def weights(self) -> Tensors:
        """The trained tensors that are kept in the end, by name: their mean if there is one."""
        parameters = self.model.named_parameters()
        return {name: self.mean.get(name, p).detach().to(p.dtype) for name, p in parameters}

    def state_dict(self, ranks: Ranks) -> tuple[Tensors, Header]:
        """Tensors by name, and what goes into the file's header: the step, the log."""
        tensors = {f"model/{name}": tensor for name, tensor in self.model.state_dict().items()}
        tensors |= {f"mean/{name}": tensor for name, tensor in self.mean.items()}
        for name, parameter in self.model.named_parameters():
            for entry, tensor in self.optimizer.state.get(parameter, {}).items():
                tensors[f"optimizer/{entry}/{name}"] = tensor
        for name, share in vars(self.carry).items():
            tensors[f"carry/{name}"] = ranks.gather(share)
        sums = ranks.sum(self.averages.sums.clone()).tolist()
        log = {"rows": self.rows, "sums": sums, "steps": self.averages.steps}
        return tensors, {"step": self.step, "log": log}

    def load_state_dict(self, tensors: Tensors, header: Header, ranks: Ranks) -> None:
        """Take over what :meth:`state_dict` gave; tensors of the model's device."""
        names = self.model.state_dict()
        self.model.load_state_dict({name: tensors[f"model/{name}"].cpu() for name in names})
        for name in self.mean:
            self.mean[name] = tensors[f"mean/{name}"]
        for name, parameter in self.model.named_parameters():
            if f"optimizer/step/{name}" in tensors:
                self.optimizer.state[parameter] = {
                    entry: tensors[f"optimizer/{entry}/{name}"] for entry in ("step", "m", "v")
                }
        share = ranks.share(len(tensors["carry/steps"]))
        slots = {part.name: tensors[f"carry/{part.name}"][share] for part in fields(Carry)}
        self.carry = Carry(**slots)
        self.step, log = header["step"], header["log"]
        self.rows, sums = log["rows"], self.averages.sums
        if ranks.rank == 0:  # the others count from zero: rows hold sums over all
            sums.copy_(torch.tensor(log["sums"], dtype=sums.dtype))
        self.averages.steps = log["steps"]
        self.averages.finite_steps += log["steps"]


class CannotSave(Exception):
    """The state could not be written; what was saved before is untouched."""

    def __init__(self, folder: Path, what: str, error: OSError) -> None:
        super().__init__(
            f"{folder}: cannot save the {what} ({error.strerror}); "
            "what was saved before is intact: make room and run again"
        )


class StateFiles:
    """The two generations of a state under ``folder``, and its return from there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.newest = folder / "state.safetensors"
        self.previous = folder / "previous.safetensors"
        self.incoming = folder / "incoming.safetensors"

    def save(self, tensors: Tensors, header: Header) -> None:
        """Save what :meth:`TrainState.state_dict` gives, and what else the header is to hold.

        Raises:
            CannotSave: the disk is full, or the folder cannot be written.
        """
        narrow = [name for name, t in tensors.items() if t.dtype == torch.bfloat16]
        header = {**header, "kind": "training state", "bfloat16": narrow}
        arrays = {
            name: (t.float() if t.dtype == torch.bfloat16 else t).detach().cpu().numpy()
            for name, t in tensors.items()
        }
        try:
            write_tensors(self.incoming, arrays, header | {"sha256": _digest(arrays, header)})
            if self.newest.exists():
                self.newest.replace(self.previous)
            self.incoming.replace(self.newest)
        except OSError as error:
            raise CannotSave(self.folder, f"state at step {header['step']}", error) from None

    def load(self, device: torch.device) -> tuple[Tensors, Header] | None:
        """The newest state that is whole, on ``device``, or None; sets damaged ones aside."""
        for path in (self.newest, self.previous):
            if not path.exists():
                continue
            try:
                arrays, header = read_tensors(path, "training state")
                if header.pop("sha256", None) != _digest(arrays, header):
                    raise UserError(f"{path}: does not hold what was written")
            except UserError as error:
                damaged = path.with_suffix(".damaged")
                with suppress(FileNotFoundError):  # another process of this run was first
                    path.replace(damaged)
                    log.warning("%s; set aside as %s", error, damaged)
                continue
            tensors: Tensors = {}
            for name, array in arrays.items():
                tensor = torch.from_numpy(array)
                if not name.startswith("optimizer/step/"):  # counted on the CPU
                    tensor = tensor.to(device)
                tensors[name] = tensor.bfloat16() if name in header["bfloat16"] else tensor
            return tensors, header
        return None

    def remove(self) -> None:
        """Forget the run: it has finished."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _digest(arrays: Arrays, header: Header) -> str:
    """The hash of all that a state holds: one flipped bit would change the run's last bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])  # one axis at least, as it is written
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()
