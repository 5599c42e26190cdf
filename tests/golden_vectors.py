"""Reading the reference vectors in ``tests/golden`` (or ``AIR_GOLDEN``): see its README."""

import json
import os
import re
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant

FOLDER = Path(os.environ.get("AIR_GOLDEN", Path(__file__).parent / "golden"))


def published_name(name: str) -> str:
    """Our name of a tensor of the authors' implementation."""
    name = re.sub(r"^f_level\.|^L_level\.", "stacks.0.", name)
    name = re.sub(r"^H_level\.", "stacks.1.", name)
    for theirs, ours in (
        (".layers.", ".blocks."),
        ("self_attn.qkv_proj", "attention.qkv"),
        ("self_attn.o_proj", "attention.out"),
        ("mlp.gate_up_proj", "swiglu.gate_up"),
        ("mlp.down_proj", "swiglu.down"),
        ("embed_tokens.embedding_weight", "embedding"),
        ("embed_pos.embedding_weight", "position_embedding"),
        ("puzzle_emb.weights", "puzzle_embedding"),
        ("g_input.", "operator."),
        ("input_token_", "level_tokens."),
    ):
        name = name.replace(theirs, ours)
    return name


def read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors and the metadata of a file."""
    with safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        metadata = dict(file.metadata())
    return tensors, metadata


def build(path: Path) -> tuple[AIR, dict[str, Tensor], dict[str, str]]:
    """The model a file describes, in float64 with the file's weights, and its contents.

    What a file leaves out (boards, most weights) is as in Lx_H of the same folder.
    """
    tensors, metadata = read(path)
    theirs = json.loads(metadata["config"])
    config = ModelConfig(
        layers=theirs["H_layers"],
        hidden_size=theirs["hidden_size"],
        heads=theirs["num_heads"],
        expansion=float(theirs["expansion"]),
        positions=theirs["pos_encodings"],
        H_cycles=theirs["H_cycles"],
        L_cycles=theirs["L_cycles"],
        max_segments=theirs["halt_max_steps"],
    )
    variant = Variant.parse(metadata.get("variant", "Lx_H"))
    model = AIR(config, variant, theirs["vocab_size"], theirs["seq_len"], "float64")
    # the probes' files hold everything of their own
    common = read(path.with_name("Lx_H.safetensors"))[0] if "variant" in metadata else {}
    state = model.state_dict()
    for source in (common, tensors):
        for name, tensor in source.items():
            ours = published_name(name.removeprefix("weights/"))
            if name.startswith("weights/") and ours in state:
                state[ours] = tensor.reshape(state[ours].shape).double()
    model.load_state_dict(state)
    shared = {name: t for name, t in common.items() if name.startswith(("batch/", "halting/step"))}
    return model, {**shared, **tensors}, metadata
