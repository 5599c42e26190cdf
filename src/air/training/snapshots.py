"""The weights at chosen steps of a run, a file each beside its state until the run has ended.

Each is written once, at its step. The state that is saved later names it by hash, so that a resumed
run has those of the steps it does not repeat, and writes the others again: the same bytes.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load, save

from air.training.config import SnapshotPrecision
from air.training.state import CannotSave, Tensors
from air.writing import write_bytes

log = logging.getLogger(__name__)


class Snapshots:
    """Those of one run, under ``folder``, at ``steps`` (0 is before the first step)."""

    def __init__(self, folder: Path, steps: Sequence[int], precision: SnapshotPrecision) -> None:
        self.folder, self.steps = folder, frozenset(steps)
        self.dtype: torch.dtype = getattr(torch, precision)
        self.digests: dict[str, str] = {}  # of the files written so far, by step

    def keep(self, step: int, weights: Tensors) -> None:
        """Write the weights (by name, on any device) after ``step`` steps.

        Raises:
            CannotSave: the disk is full, or the folder cannot be written.
        """
        rounded = {name: t.to("cpu", self.dtype).contiguous() for name, t in weights.items()}
        content = save(rounded)
        try:
            write_bytes(self._path(step), content)
        except OSError as error:
            raise CannotSave(self.folder, f"snapshot at step {step}", error) from None
        self.digests[str(step)] = hashlib.sha256(content).hexdigest()

    def restore(self, digests: dict[str, str]) -> bool:
        """Go on with the files that a saved state names; False if one is not as it was."""
        for step, digest in digests.items():
            path = self._path(int(step))
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
                log.warning("%s: is missing or damaged; training restarts from step 0", path)
                return False
        self.digests = dict(digests)
        return True

    def read(self) -> dict[int, Tensors]:
        """All snapshots of a run that has ended, by step: weights by name, as they were rounded."""
        return {step: load(self._path(step).read_bytes()) for step in sorted(self.steps)}

    def _path(self, step: int) -> Path:
        return self.folder / f"snapshot-{step}.safetensors"
