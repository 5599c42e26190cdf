"""Reading the reference vectors in ``tests/golden`` (or ``AIR_GOLDEN``): see its README."""

import json
import os
from pathlib import Path

from safetensors import safe_open
from torch import Tensor

from air.foreign.checkpoints import model_config, translated
from air.model.network import AIR
from air.model.variants import Variant

FOLDER = Path(os.environ.get("AIR_GOLDEN", Path(__file__).parent / "golden"))


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
    variant = Variant.parse(metadata.get("variant", "Lx_H"))
    # the probes' files hold everything of their own
    common = read(path.with_name("Lx_H.safetensors"))[0] if "variant" in metadata else {}
    given = {
        name.removeprefix("weights/"): tensor
        for name, tensor in {**common, **tensors}.items()
        if name.startswith("weights/")
    }
    if variant.two_networks:
        given = {name: tensor for name, tensor in given.items() if not name.startswith("f_level.")}
    config = model_config(theirs, given)
    model = AIR(config, variant, theirs["vocab_size"], theirs["seq_len"], "float64")
    model.load_state_dict(translated(model, given, path))
    shared = {name: t for name, t in common.items() if name.startswith(("batch/", "halting/step"))}
    return model, {**shared, **tensors}, metadata
