"""Checkpoints as the authors', HRM's and TRM's code write them: their sizes and names in our terms.

A checkpoint is a ``torch.save``d state dict called ``step_N``; ``all_config.yaml`` beside it says,
in ``arch``, what model it is of. TRM's model is the variant Lx_H: one network, called L_level, and
the input in the L-update alone.
"""

import hashlib
import io
import pickle
import re
import struct
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from air.files import UserError, complaint, read_yaml, reading
from air.foreign.sources import Found
from air.model.config import ModelConfig
from air.model.network import AIR
from air.model.variants import PAPER_VARIANTS, Variant

# (task, cells) by size of vocabulary: a checkpoint with RoPE does not tell the size of its board.
BOARDS = {11: ("sudoku", 81), 6: ("maze", 900)}
ARC = 12  # tokens of its vocabulary

# The keys of ``arch``: read below, without effect on what the model computes, or to be just this.
READ = {"name", "hidden_size", "num_heads", "expansion", "pos_encodings", "H_cycles", "L_cycles",
        "halt_max_steps", "forward_dtype", "H_layers", "L_layers", "puzzle_emb_ndim", "vocab_size",
        "seq_len", "puzzle_emb_len", "mlp_t", "no_ACT_continue"}  # fmt: skip
WITHOUT_EFFECT = {"loss", "halt_exploration_prob", "batch_size", "num_puzzle_identifiers", "causal"}
FIXED = {"rms_norm_eps": 1e-5, "rope_theta": 10_000.0}

_PREFIX = re.compile(
    r"^((module|_orig_mod|model|inner)\.)+"
)  # of wrappers: DDP, compile, loss head
_NAMES = (
    (r"^(f|L)_level\.", "stacks.0."),
    (r"^H_level\.", "stacks.1."),
    (r"\.layers\.", ".blocks."),
    ("self_attn.qkv_proj", "attention.qkv"),
    ("self_attn.o_proj", "attention.out"),
    (r"mlp_t\.gate_up_proj", "mlp.gate_up"),
    (r"mlp_t\.down_proj", "mlp.down"),
    ("mlp.gate_up_proj", "swiglu.gate_up"),
    ("mlp.down_proj", "swiglu.down"),
    ("embed_tokens.embedding_weight", "embedding"),
    ("embed_pos.embedding_weight", "position_embedding"),
    ("puzzle_emb.weights", "puzzle_embedding"),
    (r"^g_input\.", "operator."),
    (r"^input_token_", "level_tokens."),
)


# What torch.load raises at a file that it did not write, beside an UnpicklingError.
DAMAGED = (
    RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, AttributeError,
    AssertionError, ArithmeticError, struct.error,
)  # fmt: skip


def our_name(theirs: str) -> str:
    """What we call a tensor of the authors' model."""
    for pattern, ours in _NAMES:
        theirs = re.sub(pattern, ours, theirs)
    return theirs


def is_trm(arch: Mapping[str, Any]) -> bool:
    """Whether it is TRM's model, and not one of those beside it (``trm_singlez``, ...)."""
    return str(arch.get("name")).split("@")[0].split(".")[-1] == "trm"


def slots_of(arch: Mapping[str, Any]) -> Any:
    """How many slots ``arch`` puts in front: where it says 0, or nothing, the embedding's alone.

    TRM's default is 16. Only ModelConfig checks that it is a number.
    """
    return arch.get("puzzle_emb_len", 16 if is_trm(arch) else 1) or 1


def depths(names: Iterable[str]) -> dict[str, int]:
    """The number of blocks of each network that tensors of these ``names`` belong to."""
    block = r"^(\w_level)\.layers\.(\d+)\."
    networks = [of for of, _ in {place for name in names for place in re.findall(block, name)}]
    return {network: networks.count(network) for network in sorted(set(networks))}


def model_config(arch: Mapping[str, Any], names: Iterable[str]) -> ModelConfig:
    """The sizes that ``arch`` states; the depth is counted in the tensors' ``names``.

    Raises:
        KeyError, ValueError: something is missing or not allowed.
    """
    mlp, positions = arch.get("mlp_t", False), arch["pos_encodings"]
    return ModelConfig(
        layers=max(depths(names).values(), default=0),
        hidden_size=arch["hidden_size"],
        heads=arch["num_heads"],
        mixing={False: "attention", True: "mlp"}.get(mlp, mlp),
        expansion=float(arch["expansion"]),
        positions="none" if mlp and positions == "rope" else positions,  # which it does not use
        slots=slots_of(arch),
        H_cycles=arch["H_cycles"],
        L_cycles=arch["L_cycles"],
        max_segments=arch["halt_max_steps"],
    )


def check_arch(
    arch: Mapping[str, Any],
    tensors: Mapping[str, Tensor],
    variant: Variant,
    cells: int,
    path: Path,
) -> None:
    """Refuse an ``arch`` that asks for something else than the model that would come of it.

    Raises:
        UserError: a key is unknown, or says otherwise than the tensors or than what we compute.
    """
    unknown = sorted(set(arch) - READ - WITHOUT_EFFECT - set(FIXED))
    if unknown:
        raise UserError(
            f"{path}: arch.{unknown[0]}: unknown key; importing would ignore its effect; "
            f"known are {', '.join(sorted(READ | WITHOUT_EFFECT | set(FIXED)))}"
        )
    stacks: tuple[str, ...] = ("f_level",)
    model = variant.name
    if variant.two_networks:
        stacks = ("L_level", "H_level")
    elif is_trm(arch):
        stacks, model = ("L_level",), "TRM"
    depth = dict.fromkeys(("f_level", "L_level", "H_level"), 0) | depths(tensors)
    for stack, layers in depth.items():
        if bool(layers) != (stack in stacks):
            have = "no tensors" if not layers else "tensors"
            raise UserError(
                f"{path}: {model} is made of {' and '.join(stacks)}, but the checkpoint "
                f"has {have} of {stack}"
            )
    if len({depth[stack] for stack in stacks}) > 1:
        raise UserError(
            f"{path}: L_level has {depth['L_level']} blocks and H_level {depth['H_level']}; here "
            "both networks of a model have as many, so that their layers can be compared"
        )
    wanted: dict[str, Any] = {
        **FIXED,
        "H_layers": depth[stacks[-1]] if not is_trm(arch) else arch.get("H_layers"),  # unused there
        "L_layers": depth[stacks[0]],
        "puzzle_emb_ndim": arch.get("hidden_size"),
        "vocab_size": len(tensors["embed_tokens.embedding_weight"]),
        "seq_len": cells,
        "causal": False,
    }
    for key, value in wanted.items():
        if key in arch and arch[key] != value:
            raise UserError(
                f"{path}: arch.{key} is {arch[key]!r}, but the model that this checkpoint would "
                f"become has {value!r}"
            )


def variant_named(arch_name: str) -> str | None:
    """Which of the 16 names stands, as a word of its own, in a model class's path; else None.

    TRM's model is Lx_H.
    """
    if is_trm({"name": arch_name}):
        return "Lx_H"
    found = [
        name
        for name in PAPER_VARIANTS
        if re.search(rf"(?<![A-Za-z0-9]){name}(?![A-Za-z0-9])", arch_name)
    ]
    return max(found, key=lambda name: (name != "hrm", len(name)), default=None)


def import_checkpoint(
    path: Path, variant: str | None = None, cells: int | None = None
) -> tuple[AIR, dict[str, Any]]:
    """Read a checkpoint of the authors', HRM's or TRM's code: our model and where it came from.

    Args:
        path: the ``step_N`` file; ``all_config.yaml`` lies beside it.
        variant: of which variant it is, if ``arch.name`` does not say.
        cells: of the board, if neither the tensors nor the vocabulary say.

    Raises:
        UserError: a file is missing or damaged, carries code, or is not of that model.
    """
    state, digest = _read_state(path)
    tensors = {_PREFIX.sub("", name): tensor for name, tensor in state.items()}
    if len(tensors) < len(state):
        raise UserError(f"{path}: several tensors share a name once prefixes are removed")
    config_path = path.with_name("all_config.yaml")
    arch, everything = _read_arch(config_path)
    parsed = _variant(variant, arch, config_path)
    embedding = tensors.get("embed_tokens.embedding_weight")
    if embedding is None or embedding.ndim != 2:
        raise UserError(
            f"{path}: has no tensor embed_tokens.embedding_weight, so it is not a checkpoint of "
            "the authors', HRM's or TRM's code"
        )
    _refuse_arc(path, tensors, cells)
    task, usual = BOARDS.get(len(embedding), (None, None))
    cells = cells or _cells(tensors, slots_of(arch)) or usual
    if cells is None:
        raise UserError(
            f"{path}: its vocabulary of {len(embedding)} tokens does not tell the size of the "
            "board; give it with --cells"
        )
    check_arch(arch, tensors, parsed, cells, config_path)
    sketch = _sketch(arch, tensors, parsed, cells, config_path)
    ours = translated(sketch, tensors, path)
    model = AIR(sketch.config, parsed, len(embedding), cells, sketch.precision)
    model.load_state_dict(ours)
    origin: dict[str, Any] = {
        "task": task if cells == usual else None,  # a board of another size: of another data set
        "seed": everything.get("seed", 0),
        "imported": {
            "file": path.name,
            "sha256": digest,
            "arch": str(arch.get("name")),
        },
    }
    if arch.get("no_ACT_continue", is_trm(arch)):
        origin["train"] = {"q_continue": False}  # by which `air solve` halts
    return model.eval(), origin


def _variant(given: str | None, arch: Mapping[str, Any], path: Path) -> Variant:
    named = given or variant_named(str(arch.get("name")))
    if named is None:
        raise UserError(
            f"{path}: arch.name {arch.get('name')!r} names neither trm nor one of the 16 "
            f"variants; give it with --variant ({', '.join(PAPER_VARIANTS)})"
        )
    if is_trm(arch) and named != "Lx_H":
        raise UserError(f"{path}: arch.name says that it is TRM, which is Lx_H, not {named}")
    try:
        return Variant.parse(named)
    except ValueError as error:
        raise UserError(str(error)) from None


def _sketch(
    arch: Mapping[str, Any], tensors: Mapping[str, Tensor], variant: Variant, cells: int, path: Path
) -> AIR:
    """The model without its numbers: a wrong size must not fill the memory."""
    vocabulary = len(tensors["embed_tokens.embedding_weight"])
    try:
        config = model_config(arch, tensors)
        with torch.device("meta"):
            return AIR(config, variant, vocabulary, cells, arch.get("forward_dtype", "bfloat16"))
    except KeyError as error:
        raise UserError(f"{path}: arch has no key {error.args[0]}") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError, RuntimeError) as error:
        reason: object = error
        if isinstance(error, ValidationError):
            fault = error.errors()[0]
            reason = complaint([str(part) for part in fault["loc"]], fault)
        raise UserError(f"{path}: arch is not that of a model here: {reason}") from None


def import_found(
    found: Found, variant: str | None = None, cells: int | None = None
) -> tuple[AIR, dict[str, Any], dict[int, dict[str, Tensor]]]:
    """Read the last of several checkpoints as :func:`import_checkpoint`, and the weights of each.

    Returns:
        The model, its origin and, if all steps of a folder were asked for, the trained tensors at
        each of them, by name: in bfloat16 if the model computes in it, which loses nothing then.

    Raises:
        UserError: as :func:`import_checkpoint`, or they are not of one training.
    """
    snapshots: dict[int, dict[str, Tensor]] = {}
    hashes: list[dict[str, Any]] = []
    model, origin = import_checkpoint(found.last, variant, cells)
    kept = torch.bfloat16 if model.dtype == torch.bfloat16 else torch.float32
    fixed = set(model.state_dict()) - {name for name, _ in model.named_parameters()}
    for step, path in found.steps.items() if found.series else ():
        imported, its_origin = import_checkpoint(path, variant, cells)
        of_step = imported.state_dict()
        for name, tensor in model.state_dict().items():
            same = of_step.get(name, tensor[:0]).shape == tensor.shape
            if not same or (name in fixed and not torch.equal(of_step[name], tensor)):
                raise UserError(
                    f"{path}: its {name} is not that of {found.last.name}, so they are not "
                    "checkpoints of one training; give a folder with one training run only"
                )
        snapshots[step] = {
            name: tensor.to(kept) for name, tensor in of_step.items() if name not in fixed
        }
        hashes.append({"step": step, "sha256": its_origin["imported"]["sha256"]})
    if hashes:
        origin["imported"] |= {"steps": hashes}
    if found.hub:
        origin["imported"] |= {"hub": dict(found.hub)}
    return model, origin, snapshots


def _refuse_arc(path: Path, tensors: Mapping[str, Tensor], cells: int | None) -> None:
    puzzles = tensors.get("puzzle_emb.weights")
    if puzzles is not None and puzzles.ndim == 2 and len(puzzles) != 1:
        raise UserError(
            f"{path}: holds embeddings of {len(puzzles)} puzzles, as models of ARC do; here a "
            "model has one for all: a checkpoint of Sudoku or mazes can be read"
        )
    if len(tensors["embed_tokens.embedding_weight"]) == ARC and cells is None:
        raise UserError(
            f"{path}: its vocabulary of {ARC} tokens is ARC's, which is no task here: a checkpoint "
            "of Sudoku or mazes can be read; if it is of a task of your own, say --cells and --task"
        )


def _cells(tensors: Mapping[str, Tensor], slots: Any) -> int | None:
    """The size of the board by the tensors that have a row for each position, if there are any."""
    for name, tensor in tensors.items():
        if name == "embed_pos.embedding_weight" or name.endswith(".mlp_t.down_proj.weight"):
            rows = len(tensor) - slots if tensor.ndim and isinstance(slots, int) else 0
            return rows if rows > 0 else None
    return None


def _of_transformers(path: Path) -> bool:
    try:
        folder = path if path.is_dir() else path.parent
        theirs = (folder / "config.json").is_file() and not (folder / "all_config.yaml").is_file()
    except OSError:
        return False  # what it is will be reported when it is read
    return theirs or path.suffix == ".safetensors"


def _read_state(path: Path) -> tuple[dict[str, Tensor], str]:
    """The state dict that a file holds, and the file's sha256."""
    damaged = UserError(f"{path}: not a file written by torch.save, or truncated")
    if _of_transformers(path):
        raise UserError(
            f"{path}: is in the format of transformers (config.json, safetensors), which says "
            "nothing of the recurrence; give the step_N file that HRM's or TRM's training wrote, "
            "with its all_config.yaml beside it"
        )
    with reading(path, "a checkpoint", absent="give the step_N file of a checkpoint"):
        content = path.read_bytes()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if any(said in str(error) for said in ("blocked", "Unsupported global", "Trying to")):
            raise UserError(
                f"{path}: holds more than tensors (a pickle may run code when it is opened), "
                "so it was not opened; save the state dict alone"
            ) from None
        raise damaged from None
    except DAMAGED:
        raise damaged from None
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        inside = next(
            (
                name
                for name in ("state_dict", "model")
                if isinstance(state, Mapping) and name in state
            ),
            None,
        )
        if isinstance(state, Mapping) and "pytorch-lightning_version" in state:
            raise UserError(
                f"{path}: is a checkpoint of PyTorch Lightning; save what it holds as 'state_dict' "
                "alone, with torch.save, and write an all_config.yaml beside it"
            )
        raise UserError(
            f"{path}: not a state dict: it must map names to tensors"
            + (f"; save what it holds as {inside!r} alone, with torch.save" if inside else "")
        )
    return dict(state), hashlib.sha256(content).hexdigest()


def _read_arch(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    content = read_yaml(path, "it belongs beside the checkpoint")
    if not isinstance(content, dict) or not isinstance(content.get("arch"), dict):
        raise UserError(f"{path}: has no section arch")
    return content["arch"], content


def translated(sketch: AIR, tensors: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """``tensors`` under our names, in the shapes and dtypes of a model, which may be on meta.

    Raises:
        UserError: they are not that model's.
    """
    state = sketch.state_dict()
    theirs = {our_name(name): name for name in tensors}
    unexpected = [name for name in tensors if theirs[our_name(name)] != name]  # one name for two
    unexpected += [name for ours, name in theirs.items() if ours not in state]
    missing = [name for name in state if name not in theirs]
    if unexpected or missing:
        said = [f"unexpected: {', '.join(unexpected)}"] if unexpected else []
        said += [f"missing (by our names): {', '.join(missing)}"] if missing else []
        raise UserError(f"{path}: not the tensors of {sketch.variant.name}: {'; '.join(said)}")
    for ours, name in theirs.items():
        tensor, shape = tensors[name], state[ours].shape
        # some of theirs have leading dimensions of size 1, such as a level token's [1, 1, d]
        if tensor.shape[-len(shape) :] != shape or tensor.numel() != shape.numel():
            raise UserError(
                f"{path}: {name} has shape {tuple(tensor.shape)}, but the model's is {tuple(shape)}"
            )
        if tensor.layout != torch.strided or tensor.is_meta or not tensor.is_floating_point():
            raise UserError(f"{path}: {name} is not a dense floating-point tensor")
        if not tensor.isfinite().all():
            raise UserError(f"{path}: {name} holds values that are not finite")
        state[ours] = tensor.reshape(shape).to(state[ours].dtype)
    return state
