"""Trained models on disk: the weights, and in the header everything needed to rebuild the model.

``model.safetensors`` holds one model, ``snapshots.safetensors`` the same model at several steps of
its training.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from air.files import AGAIN, UserError, checked, reading
from air.model.config import ModelConfig
from air.model.network import AIR, Precision
from air.model.variants import Variant
from air.writing import write_bytes, write_tensors

SCHEMA = 1
FIXED = "fixed/"  # before the names of tensors that no step changes


class Header(BaseModel):
    """What the header of a model file must say."""

    model_config = ConfigDict(strict=True)

    model: ModelConfig
    variant: str
    vocabulary: int = Field(gt=1, le=256)
    cells: int = Field(gt=0, le=65_536)  # as many as `air import-checkpoint` takes
    precision: Precision
    origin: dict[str, Any] = {}


class SnapshotsHeader(Header):
    """What the header of a snapshots file must say."""

    steps: list[int]


def save_model(model: AIR, path: Path, origin: Mapping[str, Any]) -> None:
    """Write weights and configuration; ``origin``, how the model came to be, is kept, not read."""
    # bfloat16 (level tokens only) is unknown to numpy; float32 holds it exactly
    tensors = {
        name: (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().cpu().numpy()
        for name, tensor in model.state_dict().items()
    }
    write_tensors(path, tensors, _header("model", model, origin))


def save_short(model: AIR, path: Path, origin: Mapping[str, Any]) -> None:
    """Write a model at half the size: as :func:`save_model`, its tensors rounded to bfloat16.

    A model that computes in bfloat16 casts them on use anyway, so it loses nothing by it.
    """
    tensors = {
        name: tensor.detach().to("cpu", torch.bfloat16).contiguous()
        for name, tensor in model.state_dict().items()
    }
    header = _header("model", model, origin)
    write_bytes(path, save(tensors, metadata={"air": json.dumps(header, sort_keys=True)}))


def save_snapshots(
    model: AIR, snapshots: Mapping[int, Mapping[str, Tensor]], path: Path, origin: Mapping[str, Any]
) -> None:
    """Write the trained tensors of ``model`` at several steps, bfloat16 or float32, by name.

    What no step changes is written once. With no snapshots the file has none, but is there.
    """
    header = _header("snapshots", model, origin) | {"steps": sorted(snapshots)}
    tensors = {f"{step}/{name}": t for step, all_ in snapshots.items() for name, t in all_.items()}
    trained = dict(model.named_parameters())
    if snapshots:
        for name, tensor in model.state_dict().items():
            if name not in trained:
                tensors[FIXED + name] = tensor.detach().cpu().contiguous()
    write_bytes(path, save(tensors, metadata={"air": json.dumps(header, sort_keys=True)}))


def _header(kind: str, model: AIR, origin: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "kind": kind,
        "schema": SCHEMA,
        "model": model.config.model_dump(),
        "variant": model.variant.name,
        "vocabulary": model.vocabulary,
        "cells": model.cells,
        "precision": model.precision,
        "origin": dict(origin),
    }


def load_model(path: Path) -> AIR:
    """Rebuild the model that ``path`` holds, in evaluation mode, on the CPU.

    ``model.origin`` is what was given to :func:`save_model` or :func:`save_short`.

    Raises:
        UserError: not a model file, of another schema, or its tensors are not the model's.
    """
    content, tensors = _open(path, "model", [""])
    return _rebuilt(path, _checked(Header, content, path), tensors)


def snapshot_steps(path: Path) -> list[int]:
    """The steps of which a snapshots file holds the weights, ascending.

    Raises:
        UserError: not a snapshots file, or of another schema.
    """
    return _open_snapshots(path, None)[0].steps


def load_snapshot(path: Path, step: int) -> AIR:
    """Rebuild the model as it was after ``step`` steps, as :func:`load_model` does.

    Weights kept in bfloat16 are those bits in float32: a model that computes in bfloat16 (which
    casts them on use) then computes what it computed with the weights themselves.

    Raises:
        UserError: not a snapshots file, none of that step, or its tensors are not the model's.
    """
    header, tensors = _open_snapshots(path, step)
    return _rebuilt(path, header, tensors)


def _open_snapshots(path: Path, step: int | None) -> tuple[SnapshotsHeader, dict[str, Tensor]]:
    """The header, and the tensors of one step under the model's names: no other's are read."""
    leads = [FIXED, f"{step}/"] if step is not None else []
    content, tensors = _open(path, "snapshots", leads)
    header: SnapshotsHeader = _checked(SnapshotsHeader, content, path)
    if step is not None and step not in header.steps:
        steps = ", ".join(map(str, header.steps)) or "none"
        raise UserError(f"{path}: holds no snapshot of step {step}; there are: {steps}")
    return header, tensors


def _open(path: Path, kind: str, leads: Sequence[str]) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """The header, and the tensors whose names begin with one of ``leads``, under the rest of it.

    Those in bfloat16 come as float32.

    Raises:
        UserError: the file is missing, truncated, or is not a file of that kind.
    """
    faults = (SafetensorError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
    with (
        reading(path, "a readable safetensors file", *faults),
        safe_open(path, framework="pt") as file,
    ):
        content = json.loads((file.metadata() or {}).get("air", "{}"))
        names = list(file.keys()) if leads else []
        tensors = {
            name.removeprefix(lead): file.get_tensor(name)
            for lead in leads
            for name in names
            if name.startswith(lead)
        }
    if not isinstance(content, dict) or content.get("kind") != kind:
        raise UserError(f"{path}: is not a {kind} file written by air")
    widened = {name: t.float() if t.dtype == torch.bfloat16 else t for name, t in tensors.items()}
    return content, widened


def _checked(form: type[Header], content: dict[str, Any], path: Path) -> Any:
    if content.get("schema") != SCHEMA:
        raise UserError(f"{path}: schema {content.get('schema')}, but this version reads {SCHEMA}")
    return checked(form, content, path)


def _rebuilt(path: Path, header: Header, tensors: Mapping[str, Tensor]) -> AIR:
    """The model that a header describes, with these tensors.

    Raises:
        UserError: the header describes no model, or the tensors are not that model's.
    """
    sizes = header.vocabulary, header.cells, header.precision
    try:
        if header.model.layers > len(tensors):  # to count them takes long, if they are many
            raise ValueError(f"{header.model.layers} layers")
        variant = Variant.parse(header.variant)
        with torch.device("meta"):  # sizes first: a wrong one must not fill the memory
            expected = AIR(header.model, variant, *sizes).state_dict()
    except (TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        raise UserError(f"{path}: its header does not describe a model ({error})") from None
    missing, unexpected = set(expected) - set(tensors), set(tensors) - set(expected)
    if missing or unexpected:
        said = [f"missing: {', '.join(sorted(missing))}"] if missing else []
        said += [f"unexpected: {', '.join(sorted(unexpected))}"] if unexpected else []
        raise UserError(f"{path}: its tensors do not fit its header; {'; '.join(said)}")
    for name, tensor in tensors.items():
        if expected[name].shape != tensor.shape:
            raise UserError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, but the model's is "
                f"{tuple(expected[name].shape)}"
            )
        if not tensor.is_floating_point() or not bool(tensor.isfinite().all()):
            raise UserError(f"{path}: {name} holds numbers that are not finite; {AGAIN}")
    model = AIR(header.model, variant, *sizes)
    model.load_state_dict(tensors)
    model.origin = header.origin
    return model.eval()
