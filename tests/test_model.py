"""Variants, the recurrence, precision and model files. The numbers stand in test_golden.py."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from air.checkpoint import load_model, save_model
from air.files import UserError
from air.model import kernels
from air.model.boards import IGNORED
from air.model.config import ModelConfig
from air.model.layers import truncated_normal
from air.model.network import AIR, Level, Observer, Update
from air.model.variants import PAPER_VARIANTS, Variant
from air.reading import read_tensors
from air.training.step import fresh_carry, stablemax_cross_entropy, training_step
from air.writing import write_tensors

coefficients = st.sampled_from([0.0, 1.0, 2.0, 3.0, -1.0, 0.5, -2.25, 10.0])
variants = st.builds(
    Variant,
    coefficients,
    coefficients,
    st.sampled_from(["add", "linear", "nonlinear", "hadamard"]),
    st.sampled_from(["none", "addition", "prepend", "prepend_no_strip"]),
    st.booleans(),
)


@given(variants)
def test_a_variant_is_its_name(variant: Variant) -> None:
    assert Variant.parse(variant.name) == variant


def test_the_sixteen_are_different() -> None:
    assert len({Variant.parse(name) for name in PAPER_VARIANTS}) == len(PAPER_VARIANTS) == 16


@pytest.mark.parametrize(
    "name",
    ["", "Lx", "Lx_Hy", "L1x_H", "Lx_H+", "Lx_H+add", "Lx_H+linear+linear", "lx_h",
     "Lx_H+prepend+addition", "Lx_H+two_networks", "L0x_H", "Lx_H/../x", "Lx_H+prepend+linear"],
)  # fmt: skip
def test_what_is_no_variant_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is not"):
        Variant.parse(name)


def build(config: ModelConfig, name: str = "Lx_H", **keywords: object) -> AIR:
    return AIR(config, Variant.parse(name), vocabulary=6, cells=9, **keywords)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", PAPER_VARIANTS)
def test_every_variant_learns_something(small_model: ModelConfig, name: str) -> None:
    """Every parameter that should receive a gradient does, and the shapes are as documented."""
    model = build(small_model, name)
    inputs = torch.arange(18).reshape(2, 9) % 6
    carry = fresh_carry(model, inputs, inputs)
    torch.nn.init.normal_(model.q_head.weight)
    carry, outcome = training_step(model, carry, inputs, inputs, torch.zeros(2, dtype=torch.int32))
    outcome.losses[0].backward()
    without = {n for n, p in model.named_parameters() if p.grad is None}
    kept = model.variant.level_token == "prepend_no_strip"
    assert without == ({"level_tokens.L", "level_tokens.H"} if kept else set())
    assert carry.z_L.shape == carry.z_H.shape == (2, model.lead + 9, 16)
    assert model.heads(carry.z_H).logits.shape == (2, 9, 6)


TRM = {"slots": 4, "positions": "none", "mixing": "mlp"}


@pytest.mark.parametrize("name", PAPER_VARIANTS)
def test_every_variant_can_do_without_attention(small_model: ModelConfig, name: str) -> None:
    """All parameters learn, to the same gradient in float32 (another product) as in float64."""
    config = ModelConfig(**{**small_model.model_dump(), **TRM})
    inputs = torch.arange(18).reshape(2, 9) % 6
    gradients: list[dict[str, Tensor]] = []
    for precision in ("float32", "float64"):
        model = build(config, name, precision=precision)
        torch.nn.init.ones_(model.q_head.weight)
        carry = fresh_carry(model, inputs, inputs)
        carry, outcome = training_step(
            model, carry, inputs, inputs, torch.zeros(2, dtype=torch.int32), gradient="last_cycle"
        )
        assert carry.z_H.shape == (2, model.lead + 9, 16)
        outcome.losses[0].backward()
        found = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
        gradients.append({n: g.double() for n, g in found.items()})
        without = {n for n, _ in model.named_parameters()} - set(found)
        kept = model.variant.level_token == "prepend_no_strip"
        assert without == ({"level_tokens.L", "level_tokens.H"} if kept else set())
    for parameter, gradient in gradients[1].items():
        assert torch.allclose(gradients[0][parameter], gradient, rtol=1e-2, atol=1e-4), parameter


def test_slots_are_empty_but_for_the_first(small_model: ModelConfig) -> None:
    config = ModelConfig(**{**small_model.model_dump(), "slots": 4})
    model = build(config, "level_token_prepend_no_strip")
    torch.nn.init.ones_(model.puzzle_embedding)
    x = model.embed(torch.ones(1, 9, dtype=torch.long))[0]
    assert x.abs().sum(dim=1).gt(0).tolist() == [False, True, False, False, False] + [True] * 9
    few = build(ModelConfig(**{**small_model.model_dump(), "slots": 1}))
    same = build(small_model)
    assert all(torch.equal(a, b) for a, b in zip(few.parameters(), same.parameters(), strict=True))


def test_sizes_that_are_the_papers_are_not_written(small_model: ModelConfig) -> None:
    """So files of models that need no other keep their bytes."""
    assert not {"slots", "mixing"} & set(small_model.model_dump())
    config = ModelConfig(**{**small_model.model_dump(), **TRM})
    assert TRM.items() <= config.model_dump().items()
    assert ModelConfig(**config.model_dump()) == config
    with pytest.raises(ValueError, match="positions rope with mixing mlp is not allowed"):
        ModelConfig(mixing="mlp")


def test_two_networks_have_twice_the_blocks(small_model: ModelConfig) -> None:
    def blocks(model: AIR) -> int:
        return sum(p.numel() for p in model.stacks.parameters())

    assert blocks(build(small_model, "hrm")) == 2 * blocks(build(small_model))


def test_the_paper_size() -> None:
    model = AIR(ModelConfig(), Variant.parse("Lx_H"), 11, 81)
    assert model.config.inner_size(512) == 1536
    assert sum(p.numel() for p in model.stacks.parameters()) == 13_631_488  # "about 13.6 M"


class Recorder(Observer):
    def __init__(self) -> None:
        self.updates: list[Update] = []
        self.states: list[tuple[Tensor, Tensor]] = []
        self.layers: list[int] = []

    def attention(self, update: Update):  # type: ignore[no-untyped-def]
        return lambda layer, queries, keys: self.layers.append(layer)

    def after(self, update: Update, z_L: Tensor, z_H: Tensor) -> None:
        self.updates.append(update)
        self.states.append((z_L, z_H))


@pytest.mark.parametrize("frozen", [None, "L", "H"])
def test_observers_see_and_freezing_holds(small_model: ModelConfig, frozen: Level | None) -> None:
    model = build(small_model)
    start = model.fresh_states(2)
    recorder = Recorder()
    with torch.no_grad():
        x = model.embed(torch.ones(2, 9, dtype=torch.long))
        unseen = model.segment(x, *start, frozen=frozen)
        seen = model.segment(x, *start, frozen=frozen, observer=recorder)
    assert all(torch.equal(a, b) for a, b in zip(unseen, seen, strict=True))
    assert "".join(update.level for update in recorder.updates) == "LLHLLH"
    for z_L, z_H in recorder.states:
        assert frozen != "L" or torch.equal(z_L, start[0])
        assert frozen != "H" or torch.equal(z_H, start[1])
    updates = {None: 6, "L": 2, "H": 4}[frozen]
    assert recorder.layers == [0, 1] * updates


def test_without_input_to_H_a_frozen_L_hides_the_puzzle(small_model: ModelConfig) -> None:
    """With n_H = 0 and z_L frozen from the start, z_H is the same for every puzzle."""
    model = build(small_model)
    boards = torch.stack([torch.full((9,), token) for token in range(6)])
    with torch.no_grad():
        _, z_H = model.segment(model.embed(boards), *model.fresh_states(6), frozen="L")
        _, free = model.segment(model.embed(boards), *model.fresh_states(6))
    assert torch.allclose(z_H, z_H[:1].expand_as(z_H))
    assert not torch.allclose(free, free[:1].expand_as(free))


def test_bfloat16_stays_near_float32(small_model: ModelConfig) -> None:
    inputs = torch.arange(18).reshape(2, 9) % 6
    logits = {}
    for precision in ("float32", "bfloat16"):
        model = build(small_model, precision=precision, seed=3)
        with torch.no_grad():
            _, z_H = model.segment(model.embed(inputs), *model.fresh_states(2))
        logits[precision] = model.heads(z_H).logits.float().detach()
        assert all(p.dtype == torch.float32 for p in model.parameters())
    distance = (logits["float32"] - logits["bfloat16"]).abs().max() / logits["float32"].abs().max()
    assert 0 < distance < 0.05


def relative(ours: Tensor, theirs: Tensor) -> float:
    return ((ours - theirs).abs().max() / theirs.abs().max()).item()


@pytest.mark.parametrize(
    ("precision", "bound", "widened"),
    [("float32", 1e-5, False), ("bfloat16", 0.03, False), ("bfloat16", 0.03, True)],
)
@pytest.mark.parametrize("positions", [7, 37, 60])
def test_kernels_compute_their_formulas(
    precision: str,
    bound: float,
    widened: bool,
    positions: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Values and gradients, against PyTorch's own in float64."""
    monkeypatch.setattr(kernels, "_BFLOAT16", not widened)
    random = torch.Generator().manual_seed(positions)
    dtype = getattr(torch, precision)

    def drawn(*shape: int) -> tuple[Tensor, Tensor]:
        exact = torch.randn(*shape, generator=random).to(dtype).double()
        return exact.to(dtype).requires_grad_(), exact.requires_grad_()

    ours, theirs = zip(*(drawn(2, 3, positions, 16) for _ in range(3)), strict=True)
    pairs = [(kernels.attention(*ours), torch.nn.functional.scaled_dot_product_attention(*theirs))]
    (x, exact_x), (weight, exact_weight) = drawn(2, positions, 16), drawn(24, 16)
    pairs.append((kernels.linear(x, weight), exact_x @ exact_weight.T))
    for got, expected in pairs:
        assert relative(got, expected) < bound
        (got * got.detach()).sum().backward()
        (expected * expected.detach()).sum().backward()
    for got, expected in [*zip(ours, theirs, strict=True), (x, exact_x), (weight, exact_weight)]:
        assert got.grad is not None
        assert expected.grad is not None
        assert relative(got.grad, expected.grad) < bound


@pytest.mark.parametrize("compiled", [False, True])
def test_a_widened_product_rounds_its_factors_and_its_sum(
    compiled: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also between roundings that a compiler, left alone, would take for nothing."""
    monkeypatch.setattr(kernels, "_BFLOAT16", False)
    random = torch.Generator().manual_seed(0)
    x, weight = (torch.randn(*shape, generator=random) for shape in ((5, 64), (24, 64)))

    def product(x: Tensor, weight: Tensor) -> Tensor:
        return kernels.linear(x.bfloat16(), weight.bfloat16()).float()

    found = (torch.compile(product) if compiled else product)(x, weight).double()
    exact = x.bfloat16().double() @ weight.bfloat16().double().T
    assert torch.equal(found, found.bfloat16().double())
    assert ((found - exact).abs() <= 2**-8 * exact.abs() + 1e-5).all()  # half a unit, and float32's


@given(st.integers(1, 5), st.integers(0, 2**31))
def test_stablemax_is_a_cross_entropy(cells: int, seed: int) -> None:
    random = torch.Generator().manual_seed(seed)
    logits = 10 * torch.randn(1, cells, 4, generator=random, dtype=torch.float64)
    losses = [stablemax_cross_entropy(logits, torch.full((1, cells), label)) for label in range(4)]
    assert torch.allclose(torch.exp(-torch.stack(losses)).sum(0), torch.ones(1, cells).double())
    assert not stablemax_cross_entropy(logits, torch.full((1, cells), IGNORED)).any()


def test_truncated_normal_has_the_std_asked_for() -> None:
    sample = truncated_normal(200_000, std=0.3, generator=torch.Generator().manual_seed(0))
    assert abs(sample.std().item() - 0.3) < 0.003
    assert sample.abs().max() <= 2 * 0.3 / 0.8796


@pytest.mark.parametrize("name", ["Lx_H", "hrm", "level_token_prepend", "operator_linear"])
def test_a_model_survives_the_disk(tmp_path: Path, small_model: ModelConfig, name: str) -> None:
    model = build(small_model, name, precision="bfloat16", seed=5)
    path = tmp_path / "model.safetensors"
    save_model(model, path, {"seed": 5})
    loaded = load_model(path)
    assert loaded.variant == model.variant
    assert loaded.config == model.config
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[key], tensor)
    first = path.read_bytes()
    save_model(loaded, path, {"seed": 5})
    assert path.read_bytes() == first


def test_a_wrong_model_file_is_refused_by_name(tmp_path: Path, small_model: ModelConfig) -> None:
    path = tmp_path / "model.safetensors"
    save_model(build(small_model), path, {})
    tensors, header = read_tensors(path, "model")
    faults: list[tuple[dict[str, np.ndarray], dict[str, object], str]] = [
        ({k: v for k, v in tensors.items() if k != "embedding"}, header, "embedding"),
        ({**tensors, "surplus": np.zeros(1)}, header, "surplus"),
        ({**tensors, "embedding": np.zeros((3, 3))}, header, "embedding has shape"),
        (tensors, {**header, "variant": "Lx_Q"}, "does not describe a model"),
        (tensors, {**header, "schema": 99}, "schema 99"),
        (tensors, {**header, "kind": "puzzles"}, "is not a model file"),
    ]
    for content, head, message in faults:
        write_tensors(path, content, head)
        with pytest.raises(UserError, match=message) as caught:
            load_model(path)
        assert "model.safetensors" in str(caught.value)
