"""air: the reproducibility workflow of "One Model, Two Roles" (AIR, arXiv 2605.17811).

One folder, one question: ``tasks`` (what is a puzzle), ``model`` (what is AIR), ``training`` (how
it learns), ``probes`` (what it does inside), ``reporting`` (what we say about it). ``params`` says
what may be configured, ``cli`` turns it into commands. ``air.load(path)`` rebuilds a trained model.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from air.model.network import AIR

__version__ = "0.2.0"


def load(path: str | Path, step: int | None = None) -> "AIR":
    """The trained model in a ``model.safetensors``, rebuilt from that file alone.

    Of a ``snapshots.safetensors``: the model after ``step`` optimiser steps.

    Raises:
        air.files.UserError: there is no such file, or it holds no model of this version, or none
            of that step.
    """
    from air.checkpoint import load_model, load_snapshot  # late: importing torch takes a second

    return load_model(Path(path)) if step is None else load_snapshot(Path(path), step)
