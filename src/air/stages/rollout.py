"""The stage `rollout`: both states decoded after every update."""

from air import paths
from air.probes.config import RolloutConfig
from air.probes.rollouts import rollout as probe
from air.stages.inputs import subject
from air.stages.skipping import not_asked, write_skipped
from air.writing import write_arrays, write_json


def rollout(task: str, variant: str, seed: int) -> None:
    """Write rollout.json and rollout.npz."""
    if reason := not_asked(task, variant, "rollout"):
        write_skipped(paths.run(task, variant, seed), "rollout", reason)
        return
    with subject(task, variant, seed, "rollout.json", "rollout.npz") as of:
        config: RolloutConfig = of.section.probes.rollout
        found = probe(
            of.model,
            of.puzzles.first(config.puzzles),
            config.memory_gib,
            of.device,
            config.boards,
            config.depth,
            f"rollout {task} {variant} seed {seed}",
        )
    write_arrays(of.folder / "rollout.npz", found.boards.content())
    write_json(of.folder / "rollout.json", found.measures.content())
