"""The stage `attention`: where L- and H-updates look."""

from air.model.network import Update
from air.probes.attention_maps import attention as probe
from air.probes.config import AttentionConfig
from air.stages.inputs import subject
from air.writing import write_arrays, write_json


def attention(task: str, variant: str, seed: int) -> None:
    """Write attention.json and attention.npz."""
    with subject(task, variant, seed, "attention.json", "attention.npz") as of:
        config: AttentionConfig = of.section.probes.attention
        H_cycle, L_cycle = config.L_update
        found = probe(
            of.model,
            of.puzzles.first(config.puzzles),
            config.segments,
            config.memory_gib,
            of.device,
            (Update("L", H_cycle, L_cycle), Update("H", config.H_update, 0)),
            config.maps,
            f"attention {task} {variant} seed {seed}",
        )
    write_arrays(of.folder / "attention.npz", found.maps.content())
    write_json(of.folder / "attention.json", found.measures.content())
