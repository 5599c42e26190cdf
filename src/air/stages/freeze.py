"""The stage `freeze`: rollouts in which one state keeps its value."""

from air import paths
from air.probes.config import FreezeConfig
from air.probes.freezing import freeze as probe
from air.stages.inputs import subject
from air.stages.skipping import not_asked, write_skipped
from air.writing import write_json


def freeze(task: str, variant: str, seed: int) -> None:
    """Write freeze.json."""
    if reason := not_asked(task, variant, "freeze"):
        write_skipped(paths.run(task, variant, seed), "freeze", reason, arrays=False)
        return
    with subject(task, variant, seed, "freeze.json") as of:
        config: FreezeConfig = of.section.probes.freeze
        chosen = of.puzzles.first(config.puzzles)
        label = f"freeze {task} {variant} seed {seed}"
        found = probe(of.model, chosen, config.memory_gib, of.device, config.later, label)
    write_json(of.folder / "freeze.json", found.content())
