"""The stage `emergence`: the probes' measures at every snapshot of a training."""

from pathlib import Path

from air import paths
from air.checkpoint import load_snapshot, snapshot_steps
from air.files import UserError
from air.model.network import AIR
from air.probes.config import EmergenceConfig
from air.probes.emergence import emergence as probe
from air.stages.inputs import subject
from air.stages.skipping import is_imported, not_asked, write_skipped
from air.writing import write_arrays, write_json

FILE = "snapshots.safetensors"
OUTPUTS = ("emergence.json", "emergence.npz")


def emergence(task: str, variant: str, seed: int) -> None:
    """Write emergence.json and emergence.npz.

    Raises:
        UserError: the run kept no snapshots, or what :func:`~air.stages.inputs.subject` finds.
    """
    out = paths.run(task, variant, seed)
    reason = not_asked(task, variant, "emergence")
    if not reason and is_imported(task, variant) and not snapshot_steps(out / FILE):
        reason = "its source is one checkpoint, not a folder of several steps"
    if reason:
        write_skipped(out, "emergence", reason)
        return
    with subject(task, variant, seed, *OUTPUTS, file=FILE, load=_last) as of:
        config: EmergenceConfig = of.section.probes.emergence
        path = of.folder / FILE
        # one at a time: a model may be large
        snapshots = ((step, load_snapshot(path, step)) for step in snapshot_steps(path))
        label = f"emergence {task} {variant} seed {seed}"
        chosen = of.puzzles.first(config.puzzles)
        found = probe(snapshots, chosen, config.segments, config.memory_gib, of.device, label)
    write_arrays(of.folder / "emergence.npz", found.boards.content())
    # without indentation, which is half of so deep a file
    write_json(of.folder / "emergence.json", found.measures.content(), indent=0)


def _last(path: Path) -> AIR:
    steps = snapshot_steps(path)
    if not steps:
        raise UserError(
            f"{path}: holds no snapshots; set train.snapshots in params.yaml and train again"
        )
    return load_snapshot(path, steps[-1])
