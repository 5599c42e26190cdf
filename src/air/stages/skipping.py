"""What a probe's files hold if it has nothing to measure: both engines want every output."""

import logging
from pathlib import Path

from air.params import load_params
from air.results.record import Skipped
from air.writing import write_arrays, write_json

log = logging.getLogger(__name__)


def is_imported(task: str, name: str) -> bool:
    """Whether that is a model of the study's which others trained."""
    return name in load_params().task(task).imported


def not_asked(task: str, name: str, probe: str) -> str:
    """Why a probe is not to look at a model; "" if it is."""
    section = load_params().task(task)
    asked = section.checkpoints[name].probes if name in section.imported else None
    return "" if asked is None or probe in asked else f"{probe} is not among its probes"


def write_skipped(folder: Path, probe: str, reason: str, arrays: bool = True) -> None:
    """Write PROBE.json, which says why there are no measures, and a PROBE.npz without arrays."""
    log.info("%s %s: nothing to measure: %s", probe, " ".join(folder.parts[-3:]), reason)
    if arrays:
        write_arrays(folder / f"{probe}.npz", {})
    write_json(folder / f"{probe}.json", Skipped(skipped=reason).content())
