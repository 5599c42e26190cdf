"""The stage `attention`: where L- and H-updates look."""

from air.model.network import Update
from air.probes.attention_maps import attention as probe
from air.probes.attention_maps import has_attention
from air.probes.config import AttentionConfig
from air.stages.inputs import subject
from air.stages.skipping import not_asked, write_skipped
from air.writing import write_arrays, write_json


def attention(task: str, variant: str, seed: int) -> None:
    """Write attention.json and attention.npz; or why not, as of a model without attention."""
    label = f"attention {task} {variant} seed {seed}"
    with subject(task, variant, seed, "attention.json", "attention.npz") as of:
        config: AttentionConfig = of.section.probes.attention
        H_cycle, L_cycle = config.L_update
        reason = not_asked(task, variant, "attention")
        if not has_attention(of.model):
            reason = "its blocks have no attention: they mix the positions by an MLP"
        if not reason:
            found = probe(
                of.model,
                of.puzzles.first(config.puzzles),
                config.segments,
                config.memory_gib,
                of.device,
                (Update("L", H_cycle, L_cycle), Update("H", config.H_update, 0)),
                config.maps,
                label,
            )
    if reason:
        write_skipped(of.folder, "attention", reason)
        return
    write_arrays(of.folder / "attention.npz", found.maps.content())
    write_json(of.folder / "attention.json", found.measures.content())
