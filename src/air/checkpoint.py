"""``model.safetensors``: the weights, and in the header everything needed to rebuild the model."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field

from air.files import AGAIN, UserError, checked, read_tensors
from air.model.config import ModelConfig
from air.model.network import AIR, Precision
from air.model.variants import Variant
from air.writing import write_tensors

SCHEMA = 1


class Header(BaseModel):
    """What the header of a model file must say."""

    model_config = ConfigDict(strict=True)

    model: ModelConfig
    variant: str
    vocabulary: int = Field(gt=1, le=256)
    cells: int = Field(gt=0, le=65_536)  # as many as `air import-checkpoint` takes
    precision: Precision
    origin: dict[str, Any] = {}


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

    ``model.origin`` is what was given to :func:`save_model`.

    Raises:
        UserError: not a model file, of another schema, or its tensors are not the model's.
    """
    tensors, content = read_tensors(path, "model")
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {content.get('schema')}, but this version reads {SCHEMA}")
    header: Header = checked(Header, content, path)
    sizes = header.vocabulary, header.cells, header.precision
    try:
        if header.model.layers > len(tensors):  # to count them takes long, if they are many
            raise ValueError(f"{header.model.layers} layers")
        variant = Variant.parse(header.variant)
        with torch.device("meta"):  # sizes first: a wrong one must not fill the memory
            expected = AIR(header.model, variant, *sizes).state_dict()
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"{path}: its header does not describe a model ({error})") from None
    if set(expected) != set(tensors):
        names = ", ".join(sorted(set(expected) ^ set(tensors)))
        raise UserError(f"{path}: these tensors are missing or surplus: {names}")
    for name, tensor in tensors.items():
        if tuple(expected[name].shape) != tensor.shape:
            raise UserError(
                f"{path}: {name} has shape {tensor.shape}, but the model's is "
                f"{tuple(expected[name].shape)}"
            )
        if tensor.dtype.kind != "f" or not np.isfinite(tensor).all():
            raise UserError(f"{path}: {name} holds what are no finite numbers; {AGAIN}")
    model = AIR(header.model, variant, *sizes)
    model.load_state_dict({name: torch.from_numpy(tensor) for name, tensor in tensors.items()})
    model.origin = header.origin
    return model.eval()
