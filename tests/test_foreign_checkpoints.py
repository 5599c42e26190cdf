"""Checkpoints of the authors' implementation, in the format its training writes."""

import json
import os
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch
from ruamel.yaml import YAML
from torch import Tensor
from typer.testing import CliRunner

import air
from air.cli import app
from air.files import UserError
from air.foreign.checkpoints import import_checkpoint, variant_named
from air.foreign.sources import find
from air.model.variants import PAPER_VARIANTS
from tests.golden_vectors import FOLDER, read
from tests.test_golden import VARIANTS, distance


def weights(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The weights of a reference file under the authors' names, and its sizes."""
    own, metadata = read(path)
    tensors = {**read(path.with_name("Lx_H.safetensors"))[0], **own}
    found = {
        name.removeprefix("weights/"): tensor
        for name, tensor in tensors.items()
        if name.startswith("weights/")
    }
    if path.stem == "hrm":
        found = {name: tensor for name, tensor in found.items() if not name.startswith("f_level")}
    return found, json.loads(metadata["config"])


def write_checkpoint(
    folder: Path,
    state: dict[str, Any],
    arch: dict[str, Any],
    prefix: str = "_orig_mod.model.inner.",
) -> Path:
    """A checkpoint folder as the published training leaves it; the path of its step_N."""
    folder.mkdir(exist_ok=True)
    config = {"arch": arch, "seed": 3, "lr": 1e-4, "data_path": "data/maze", "epochs": 20000}
    YAML(typ="safe").dump(config, folder / "all_config.yaml")
    path = folder / "step_26041"
    torch.save(OrderedDict((prefix + name, tensor) for name, tensor in state.items()), path)
    return path


def arch_of(sizes: dict[str, Any], name: str) -> dict[str, Any]:
    given = {"vocab_size", "seq_len", "batch_size", "num_puzzle_identifiers"}  # not in their file
    kept = {key: value for key, value in sizes.items() if key not in given}
    return {"name": f"hrm.{name}_act_v1@AIR_ACTV1", "loss": {"name": "losses@ACTLossHead"}, **kept}


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    state, sizes = weights(FOLDER / "Lx_H.safetensors")
    return write_checkpoint(tmp_path / "c", state, arch_of(sizes, "Lx_H"))


@pytest.mark.parametrize("path", VARIANTS, ids=lambda path: path.stem)
@pytest.mark.parametrize(
    "prefix",
    ["_orig_mod.model.inner.", "model.inner.", "module.model.inner.", "model._orig_mod.inner."],
)
def test_a_checkpoint_becomes_our_model(path: Path, prefix: str, tmp_path: Path) -> None:
    """Imported, written and loaded again, it says what the authors' model says."""
    state, sizes = weights(path)
    arch = arch_of(sizes, path.stem)
    step = write_checkpoint(tmp_path / "c", state, arch, prefix)
    ended = CliRunner().invoke(app, ["import-checkpoint", str(step), "--cells", "16"])
    assert ended.exit_code == 0, ended.output
    model = air.load(step.with_name("model.safetensors"))
    assert model.variant.name == path.stem
    assert model.origin["seed"] == 3
    golden = {**read(path.with_name("Lx_H.safetensors"))[0], **read(path)[0]}
    with torch.no_grad():
        inputs = golden["batch/inputs"].long()
        _, z_H = model.segment(model.embed(inputs), *model.fresh_states(len(inputs)))
        assert distance(model.heads(z_H).logits, golden["eval/segment0/logits"]) < 1e-9


@pytest.mark.parametrize(
    ("arch_name", "variant"),
    [
        ("hrm.hrm_act_v1@HierarchicalReasoningModel_ACTV1", "hrm"),
        ("hrm.L2x_Hx@HierarchicalReasoningModel_ACTV1", "L2x_Hx"),
        ("hrm.hrm_Lx_H2x_act_v1@AIR", "Lx_H2x"),
        ("models.level_token_prepend_no_strip@AIR", "level_token_prepend_no_strip"),
        ("recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1", "Lx_H"),
        ("recursive_reasoning.trm_singlez@TinyRecursiveReasoningModel_ACTV1", None),
        ("models.transformer@Model", None),
    ],
)
def test_the_variant_is_read_from_the_architecture(arch_name: str, variant: str | None) -> None:
    assert variant_named(arch_name) == variant


def test_every_variant_is_found_by_its_name() -> None:
    assert [variant_named(f"hrm.{name}@Model") for name in PAPER_VARIANTS] == list(PAPER_VARIANTS)


def refused(path: Path, *options: Any) -> str:
    with pytest.raises(UserError) as caught:
        import_checkpoint(path, *options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class Payload:
    """A pickle of this runs a command when it is opened without care."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def test_a_pickle_with_code_is_refused_unopened(checkpoint: Path, tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    torch.save({"model.inner.lm_head.weight": Payload(f"touch {witness}")}, checkpoint)
    assert "may run code" in refused(checkpoint, None, 16)
    assert not witness.exists()


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_a_truncated_checkpoint_is_refused(checkpoint: Path, share: float) -> None:
    content = checkpoint.read_bytes()
    checkpoint.write_bytes(content[: int(len(content) * share)])
    assert "step_26041: not a file written by torch.save, or truncated" in refused(checkpoint)


def test_other_files_are_refused(checkpoint: Path) -> None:
    checkpoint.write_text("weights, honestly\n" * 99)
    assert "not a file written by torch.save" in refused(checkpoint)
    torch.save([torch.zeros(1)], checkpoint)
    assert "not a state dict" in refused(checkpoint)
    for name in ("state_dict", "model"):  # as Lightning and others save it
        torch.save({name: {"lm_head.weight": torch.zeros(1)}, "epoch": 3}, checkpoint)
        assert f"save what it holds as '{name}' alone" in refused(checkpoint)
    assert "no such file" in refused(checkpoint.with_name("step_1"))
    assert "cannot be read (" in refused(checkpoint.with_name("x" * 300))
    assert "cannot be read (" in refused(checkpoint / "step_1")
    assert "no file has such a name" in refused(checkpoint.with_name("step\0"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("rms_norm_eps", 1e-2, "arch.rms_norm_eps is 0.01, but the model that this checkpoint"),
        ("rope_theta", 500.0, "arch.rope_theta is 500.0"),
        (
            "H_layers",
            9,
            "arch.H_layers is 9, but the model that this checkpoint would become has 2",
        ),
        ("L_layers", 1, "arch.L_layers is 1"),
        ("puzzle_emb_ndim", 0, "arch.puzzle_emb_ndim is 0"),
        ("vocab_size", 12, "arch.vocab_size is 12"),
        ("seq_len", 81, "arch.seq_len is 81"),
        ("causal", True, "arch.causal is True"),
        ("dropout", 0.1, "arch.dropout: unknown key; importing would ignore its effect"),
    ],
)
def test_nothing_that_the_configuration_says_is_lost(
    tmp_path: Path, key: str, value: Any, said: str
) -> None:
    state, sizes = weights(FOLDER / "Lx_H.safetensors")
    arch = {**arch_of(sizes, "Lx_H"), key: value}
    path = write_checkpoint(tmp_path / "a", state, arch)
    assert said in refused(path, None, 16)
    same = {"rms_norm_eps": 1e-5, "rope_theta": 10000.0, "seq_len": 16, "causal": False}
    kept = {**arch_of(sizes, "Lx_H"), **same, "loss": {"name": "another"}, "batch_size": 1}
    import_checkpoint(write_checkpoint(tmp_path / "b", state, kept), None, 16)


def test_tensors_that_fit_by_accident_are_refused(tmp_path: Path) -> None:
    """Another model's single stack is called L_level; two of them are not one network's."""
    state, sizes = weights(FOLDER / "Lx_H.safetensors")
    renamed = {name.replace("f_level", "L_level"): tensor for name, tensor in state.items()}
    path = write_checkpoint(tmp_path / "a", renamed, arch_of(sizes, "Lx_H"))
    assert "Lx_H is made of f_level, but the checkpoint has no tensors of f_level" in refused(
        path, None, 16
    )


TRM = FOLDER / "peers/trm_att_sudoku/step_65100"


def trm(folder: Path, *without: str, **changes: Any) -> Path:
    """TRM's checkpoint with changes to ``arch``, or to its tensors where a name has a dot."""
    state = torch.load(TRM, weights_only=True)
    state = {name.removeprefix("model.inner."): tensor for name, tensor in state.items()}
    arch = YAML(typ="safe").load(TRM.with_name("all_config.yaml"))["arch"]
    for key, value in changes.items():
        (state if "." in key else arch)[key] = value
    for key in without:
        del arch[key]
    return write_checkpoint(folder, state, arch, "model.inner.")


def test_what_trm_does_not_say_is_its_default(tmp_path: Path) -> None:
    defaults = ("puzzle_emb_len", "mlp_t", "no_ACT_continue")
    model, origin = import_checkpoint(trm(tmp_path / "a", *defaults))
    assert (model.config.slots, model.config.mixing) == (16, "attention")
    assert origin["train"] == {"q_continue": False}
    model, origin = import_checkpoint(trm(tmp_path / "b", puzzle_emb_len=0, no_ACT_continue=False))
    assert model.config.slots == 1
    assert "train" not in origin


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "recursive_reasoning.trm_singlez@T"}, "names neither trm nor one of the 16"),
        ({"name": "hrm.Lx_H@T"}, "Lx_H is made of f_level, but the checkpoint has no tensors of"),
        (
            {"L_layers": 3},
            "arch.L_layers is 3, but the model that this checkpoint would become has 2",
        ),
        ({"puzzle_emb_ndim": 96}, "arch.puzzle_emb_ndim is 96"),
        ({"puzzle_emb_len": 9999}, "slots: input should be less than or equal to 1024, not 9999"),
        ({"puzzle_emb_len": "all"}, "slots: input should be a valid integer, not 'all'"),
        ({"mlp_t": True}, "missing (by our names): stacks.0.blocks.0.mlp.gate_up.weight"),
        ({"mlp_t": "maybe"}, "mixing: input should be 'attention' or 'mlp', not 'maybe'"),
        ({"pos_encodings": "none", "H_layers": 7, "mlp_t": []}, "all_config.yaml: arch"),
        (
            {"puzzle_emb.weights": torch.zeros(400, 48)},
            "embeddings of 400 puzzles, as models of ARC",
        ),
        (
            {"embed_tokens.embedding_weight": torch.zeros(12, 48)},
            "of 12 tokens is ARC's, which is no",
        ),
    ],
)
def test_what_of_trm_is_not_read_is_named(
    changes: dict[str, Any], said: str, tmp_path: Path
) -> None:
    assert said in refused(trm(tmp_path / "a", **changes))


def test_trm_is_one_variant(tmp_path: Path) -> None:
    assert "it is TRM, which is Lx_H, not hrm" in refused(trm(tmp_path / "a"), "hrm")
    assert import_checkpoint(trm(tmp_path / "b"), "Lx_H")[0].variant.name == "Lx_H"


def test_networks_of_different_depth_are_refused(tmp_path: Path) -> None:
    state, sizes = weights(FOLDER / "hrm.safetensors")
    fewer = {name: t for name, t in state.items() if not name.startswith("H_level.layers.1.")}
    path = write_checkpoint(tmp_path / "a", fewer, arch_of(sizes, "hrm"))
    assert "L_level has 2 blocks and H_level 1; here both networks" in refused(path, None, 16)


def test_the_tensors_tell_the_size_of_the_board(tmp_path: Path) -> None:
    """Where each position has a row: 97 of them are 16 slots and 81 cells."""
    source = FOLDER / "peers/trm_mlp_sudoku"
    state = torch.load(source / "step_65100", weights_only=True)
    state = {name.removeprefix("model.inner."): tensor for name, tensor in state.items()}
    state |= {
        name: torch.zeros(7, 48) for name in ("embed_tokens.embedding_weight", "lm_head.weight")
    }
    arch = YAML(typ="safe").load(source / "all_config.yaml")["arch"] | {"pos_encodings": "rope"}
    model, origin = import_checkpoint(write_checkpoint(tmp_path / "a", state, arch))
    assert (model.cells, model.vocabulary, origin["task"]) == (81, 7, None)
    assert model.config.positions == "none"  # RoPE turns nothing there


def test_other_formats_are_named(checkpoint: Path) -> None:
    lightning = {"state_dict": {}, "pytorch-lightning_version": "2.5.0", "epoch": 3}
    torch.save(lightning, checkpoint)
    assert "is a checkpoint of PyTorch Lightning; save what it holds as 'state_dict'" in refused(
        checkpoint
    )
    other = checkpoint.with_name("model.safetensors")
    other.write_bytes(b"{}")
    assert "is in the format of transformers" in refused(other)
    checkpoint.with_name("config.json").write_text("{}")
    assert "is a checkpoint of PyTorch Lightning" in refused(checkpoint)  # it has its all_config
    checkpoint.with_name("all_config.yaml").unlink()
    for path in (checkpoint, checkpoint.parent):
        assert "is in the format of transformers" in refused(path)


def test_missing_and_unexpected_tensors_are_named(tmp_path: Path) -> None:
    state, sizes = weights(FOLDER / "Lx_H.safetensors")
    arch = arch_of(sizes, "Lx_H")
    lacking = {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}
    said = refused(write_checkpoint(tmp_path / "a", lacking, arch), None, 16)
    assert "missing" in said
    assert "lm_head.weight" in said
    more = {**state, "extra.weight": torch.ones(2)}
    said = refused(write_checkpoint(tmp_path / "b", more, arch), None, 16)
    assert "unexpected: extra.weight" in said
    wrong = {**state, "lm_head.weight": torch.ones(7, 32)}
    said = refused(write_checkpoint(tmp_path / "c", wrong, arch), None, 16)
    assert "lm_head.weight has shape (7, 32)" in said
    ill = {**state, "lm_head.weight": torch.full((6, 32), float("nan"))}
    assert "not finite" in refused(write_checkpoint(tmp_path / "d", ill, arch), None, 16)


def test_a_checkpoint_of_another_variant_is_refused(checkpoint: Path) -> None:
    said = refused(checkpoint, "hrm", 16)
    assert "hrm is made of L_level and H_level, but the checkpoint has tensors of f_level" in said
    assert "is not a variant" in refused(checkpoint, "Lx_Q", 16)


def test_what_the_configuration_lacks_is_named(checkpoint: Path, tmp_path: Path) -> None:
    state, sizes = weights(FOLDER / "Lx_H.safetensors")
    arch = arch_of(sizes, "Lx_H")
    without = {key: value for key, value in arch.items() if key != "num_heads"}
    assert "num_heads" in refused(write_checkpoint(tmp_path / "a", state, without), None, 16)
    unknown = {**arch, "name": "models.transformer@Model"}
    assert "--variant" in refused(write_checkpoint(tmp_path / "b", state, unknown), None, 16)
    odd = {**arch, "pos_encodings": "alibi"}
    assert "all_config.yaml: arch" in refused(
        write_checkpoint(tmp_path / "c", state, odd), None, 16
    )
    config = checkpoint.with_name("all_config.yaml")
    config.write_text("arch: [")
    assert "all_config.yaml, line 1: not valid YAML" in refused(checkpoint)
    config.write_text("seed: 1")
    assert "no section arch" in refused(checkpoint)
    config.unlink()
    assert "all_config.yaml: there is no such file" in refused(checkpoint)


def test_boards_of_the_paper_need_no_size(tmp_path: Path) -> None:
    """Six tokens are the Maze's: 900 cells, unless said otherwise."""
    state, sizes = weights(FOLDER / "Lx_H.safetensors")
    model, origin = import_checkpoint(
        write_checkpoint(tmp_path / "a", state, arch_of(sizes, "Lx_H"))
    )
    assert (model.cells, origin["task"]) == (900, "maze")
    wide = {**state, "embed_tokens.embedding_weight": torch.zeros(9, 32)}
    said = refused(write_checkpoint(tmp_path / "b", wide, arch_of(sizes, "Lx_H")))
    assert "--cells" in said


def test_a_folder_with_hrms_published_file_is_one_model(tmp_path: Path) -> None:
    """Its name, `checkpoint`, says no step."""
    (tmp_path / "checkpoint").touch()
    found = find(str(tmp_path))
    assert (found.series, found.last.name) == (False, "checkpoint")
    (tmp_path / "step_5").touch()
    found = find(str(tmp_path))
    assert (found.series, list(found.steps)) == (True, [5])
