"""The stage `attention`: where L- and H-updates look."""

import logging

from air.model.network import Update
from air.probes.attention_maps import attention as probe
from air.probes.attention_maps import has_attention
from air.probes.config import AttentionConfig
from air.results.attention import NoAttention
from air.stages.inputs import subject
from air.writing import write_arrays, write_json

log = logging.getLogger(__name__)


def attention(task: str, variant: str, seed: int) -> None:
    """Write attention.json and attention.npz; of a model without attention, that it has none."""
    label = f"attention {task} {variant} seed {seed}"
    with subject(task, variant, seed, "attention.json", "attention.npz") as of:
        config: AttentionConfig = of.section.probes.attention
        H_cycle, L_cycle = config.L_update
        found = None
        if has_attention(of.model):
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
    if found is None:
        log.info("%s: no attention: the model mixes the positions by an MLP", label)
    write_arrays(of.folder / "attention.npz", found.maps.content() if found else {})
    measures = found.measures if found else NoAttention(attention="none")
    write_json(of.folder / "attention.json", measures.content())
