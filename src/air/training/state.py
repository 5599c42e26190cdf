"""The state of an unfinished run, so that nothing is lost when it is stopped.

It lies outside the outputs (which both engines delete before a job), in a folder named by a hash of
everything that determines the run: another configuration or data set never finds it. Two
generations are kept; if the newest is damaged, the one before is used.
"""

import hashlib
import json
import shutil
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from air.files import Arrays, UserError, read_tensors
from air.model.network import AIR
from air.training.optim import AdamATan2
from air.training.step import Carry
from air.writing import write_tensors


def run_key(identity: dict[str, Any]) -> str:
    """A name for a run: the hash of what determines it."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def _digest(arrays: Arrays, header: dict[str, Any]) -> str:
    """The hash of all that a state holds: one flipped bit would change the run's last bytes."""
    digest = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])  # one axis at least, as it is written
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(array.data)
    return digest.hexdigest()


class CannotSave(Exception):
    """The state could not be written; what was saved before is untouched."""


class RunState:
    """Saves and restores (model, optimiser, carry, step, rows of the log) under ``folder``."""

    def __init__(self, folder: Path) -> None:
        self.newest = folder / "state.safetensors"
        self.previous = folder / "previous.safetensors"
        self.incoming = folder / "incoming.safetensors"

    def save(
        self,
        model: AIR,
        optimizer: AdamATan2,
        carry: Carry,
        mean: dict[str, Tensor],
        step: int,
        log: dict[str, Any],
    ) -> None:
        """Save all that the steps to come depend on; ``mean`` is the running mean of the weights.

        Raises:
            CannotSave: the disk is full, or the folder cannot be written.
        """
        state = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
        state |= {f"mean/{name}": tensor for name, tensor in mean.items()}
        for name, parameter in model.named_parameters():
            for entry, tensor in optimizer.state.get(parameter, {}).items():
                state[f"optimizer/{entry}/{name}"] = tensor
        state |= {f"carry/{name}": tensor for name, tensor in vars(carry).items()}
        header = {
            "kind": "training state",
            "step": step,
            "log": log,
            "bfloat16": [name for name, t in state.items() if t.dtype == torch.bfloat16],
        }
        arrays = {
            name: (t.float() if t.dtype == torch.bfloat16 else t).detach().cpu().numpy()
            for name, t in state.items()
        }
        try:
            write_tensors(self.incoming, arrays, header | {"sha256": _digest(arrays, header)})
            if self.newest.exists():
                self.newest.replace(self.previous)
            self.incoming.replace(self.newest)
        except OSError as error:
            raise CannotSave(
                f"{self.newest.parent}: cannot save the state at step {step} ({error.strerror}); "
                "what was saved before is intact: make room and run again"
            ) from None

    def load(
        self, model: AIR, optimizer: AdamATan2, mean: dict[str, Tensor], device: torch.device
    ) -> tuple[Carry, int, dict[str, Any]] | None:
        """Restore model, optimiser and mean in place: (carry, step, log), or None for a new run."""
        for path in (self.newest, self.previous):
            if not path.exists():
                continue
            try:
                arrays, header = read_tensors(path, "training state")
                if header.pop("sha256", None) != _digest(arrays, header):
                    raise UserError(f"{path}: does not hold what was written")
            except UserError as error:
                damaged = path.with_suffix(".damaged")
                path.replace(damaged)
                print(f"warning: {error}; set aside as {damaged}", file=sys.stderr)
                continue
            state: dict[str, Tensor] = {}
            for name, array in arrays.items():
                tensor = torch.from_numpy(array)
                if not name.startswith("optimizer/step/"):  # counted on the CPU
                    tensor = tensor.to(device)
                state[name] = tensor.bfloat16() if name in header["bfloat16"] else tensor
            model.load_state_dict(
                {name: state[f"model/{name}"].cpu() for name in model.state_dict()}
            )
            for name in mean:
                mean[name] = state[f"mean/{name}"]
            for name, parameter in model.named_parameters():
                if f"optimizer/step/{name}" in state:
                    optimizer.state[parameter] = {
                        "step": state[f"optimizer/step/{name}"],
                        "m": state[f"optimizer/m/{name}"],
                        "v": state[f"optimizer/v/{name}"],
                    }
            carry = Carry(**{field.name: state[f"carry/{field.name}"] for field in fields(Carry)})
            return carry, header["step"], header["log"]
        return None

    def remove(self) -> None:
        """Forget the run: it has finished."""
        shutil.rmtree(self.newest.parent, ignore_errors=True)
