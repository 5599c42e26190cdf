"""``model.safetensors``: the weights, and in the header everything needed to rebuild the model."""

from pathlib import Path
from typing import Any

import torch

from air.files import UserError, read_tensors, write_tensors
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import Variant

SCHEMA = 1


def save_model(model: AIR, path: Path, origin: dict[str, Any]) -> None:
    """Write weights and configuration; ``origin``, how the model came to be, is kept, not read."""
    header = {
        "kind": "model",
        "schema": SCHEMA,
        "model": model.config.model_dump(),
        "variant": model.variant.name,
        "vocabulary": model.vocabulary,
        "cells": model.cells,
        "precision": model.precision,
        "origin": origin,
    }
    # bfloat16 (level tokens only) is unknown to numpy; float32 holds it exactly
    tensors = {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().cpu().numpy()
        for name, tensor in model.state_dict().items()
    }
    write_tensors(path, tensors, header)


def load_model(path: Path) -> AIR:
    """Rebuild the model that ``path`` holds, in evaluation mode, on the CPU.

    ``model.origin`` is what :func:`save_model` was told.

    Raises:
        UserError: not a model file, of another schema, or its tensors are not the model's.
    """
    tensors, header = read_tensors(path, "model")
    if header.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {header.get('schema')}, but this version reads {SCHEMA}")
    try:
        model = AIR(
            ModelConfig(**header["model"]),
            Variant.parse(header["variant"]),
            header["vocabulary"],
            header["cells"],
            header["precision"],
        )
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise UserError(f"{path}: its header does not describe a model ({error})") from None
    expected = model.state_dict()
    if set(expected) != set(tensors):
        names = ", ".join(sorted(set(expected) ^ set(tensors)))
        raise UserError(f"{path}: these tensors are missing or surplus: {names}")
    for name, tensor in tensors.items():
        if tuple(expected[name].shape) != tensor.shape:
            raise UserError(
                f"{path}: {name} has shape {tensor.shape}, but the model's is "
                f"{tuple(expected[name].shape)}"
            )
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    model.origin = header.get("origin", {})
    return model.eval()
