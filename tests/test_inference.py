"""What inference does otherwise than training, for speed: it must compute the same."""

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor

from air.evaluation.accuracy import evaluate
from air.model import kernels
from air.model.config import ModelConfig
from air.model.layers import Linear, SwiGLU, rope_tables, rotate
from air.model.network import AIR
from air.model.variants import Variant
from air.probes.attention_maps import MANY_CELLS, entropies
from air.probes.decoding import CPU, in_batches
from air.tasks.task import Puzzles


def build(config: ModelConfig, name: str = "hrm", precision: str = "bfloat16") -> AIR:
    return AIR(config, Variant.parse(name), 4, 9, precision, seed=0)  # type: ignore[arg-type]


def boards_of(model: AIR) -> Tensor:
    """Logits of z_L after one update, for the same two puzzles."""
    inputs = torch.randint(0, 4, (2, 9), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        x = model.embed(inputs)
        return model.decode(model.update("L", *model.fresh_states(2), x)).double()


def what_is_held(model: AIR) -> list[bool]:
    return [part.held is not None for part in model.modules() if isinstance(part, Linear | SwiGLU)]


@pytest.fixture(params=[1, 2**16], ids=["packed", "cast"])
def least_packed(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "LEAST_PACKED", request.param)


@pytest.mark.usefixtures("least_packed")
@pytest.mark.parametrize("mixing", ["attention", "mlp"])
def test_held_weights_compute_what_the_weights_do(small_model: ModelConfig, mixing: str) -> None:
    positions = "rope" if mixing == "attention" else "none"
    config = small_model.model_copy(update={"mixing": mixing, "positions": positions})
    model, exact = build(config), boards_of(build(config, precision="float64"))
    plain = boards_of(model)
    with model.weights_held():
        held = boards_of(model)
        assert any(what_is_held(model))
    for found in (plain, held):
        assert (found - exact).norm() < 0.03 * exact.norm()
    assert not any(what_is_held(model))
    assert torch.equal(boards_of(model), plain)


def test_a_weight_that_is_held_in_halves_is_not_held_whole_too(
    small_model: ModelConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "packs", lambda weight, dtype: True)
    monkeypatch.setattr(kernels, "packed", lambda weight: weight)
    model = build(small_model)
    with model.weights_held():
        for part in model.modules():
            if isinstance(part, SwiGLU):
                assert part.held is not None
                assert part.gate_up.held is None
                assert part.down.held is not None


def test_small_weights_held_keep_every_bit(small_model: ModelConfig) -> None:
    model = build(small_model)
    plain = boards_of(model)
    with model.weights_held():
        assert torch.equal(boards_of(model), plain)


@pytest.mark.usefixtures("least_packed")
def test_held_weights_are_left_whatever_happens(small_model: ModelConfig) -> None:
    """Not used for gradients, and gone after an error: a changed weight is seen."""
    model = build(small_model, "Lx_H")
    before = boards_of(model)
    with pytest.raises(KeyError), model.weights_held():
        x = model.embed(torch.ones(1, 9, dtype=torch.int64))
        _, z_H = model.segment(x, *model.fresh_states(1))
        model.decode(z_H).float().sum().backward()
        raise KeyError
    weight = model.get_parameter("stacks.0.blocks.0.swiglu.gate_up.weight")
    assert weight.grad is not None
    assert weight.grad.abs().sum() > 0
    with torch.no_grad():
        weight.mul_(2)
    assert not torch.equal(boards_of(model), before)


def test_full_precision_holds_nothing(small_model: ModelConfig) -> None:
    model = build(small_model, precision="float32")
    with model.weights_held():
        assert not any(what_is_held(model))


def test_evaluation_and_probes_hold_the_weights_while_they_run(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(3)
    task = puzzles.task
    model = AIR(small_model, Variant.parse("Lx_H"), len(task.vocabulary), task.cells, "bfloat16")
    seen: list[bool] = []
    decode = model.decode

    def watched(z: Tensor) -> Tensor:
        seen.append(all(part.held is not None for part in model.modules() if type(part) is Linear))
        return decode(z)

    model.decode = watched  # type: ignore[method-assign]
    evaluate(model, puzzles, 2, CPU, silent=True)
    batches: Iterator[object] = in_batches(model, puzzles, 1e-9, CPU, "test")
    for _ in batches:
        watched(torch.zeros(1, model.lead + task.cells, 16, dtype=torch.bfloat16))
        break
    del batches, _
    assert len(seen) > 1
    assert all(seen)
    assert not any(what_is_held(model))


def test_a_gate_of_packed_weights_computes_its_formula() -> None:
    random = torch.Generator().manual_seed(0)
    shapes = ((2, 9, 48), (64, 48), (64, 48))
    x, gate, up = (torch.randn(*shape, generator=random).bfloat16() for shape in shapes)
    if not kernels.packs(torch.empty(2**9, 2**9), torch.bfloat16):
        pytest.skip("oneDNN packs no bfloat16 weights on this machine")
    exact = torch.nn.functional.silu(x.double() @ gate.double().T) * (x.double() @ up.double().T)
    found = kernels.gated(x, kernels.packed(gate), kernels.packed(up))
    assert (found.double() - exact).norm() < 0.005 * exact.norm()


@pytest.mark.parametrize("positions", [64, 130])
def test_attention_in_the_cache_computes_its_formula(
    positions: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "CACHED_SCORES", 3 * positions**2)  # of five heads, three at once
    random = torch.Generator().manual_seed(positions)
    q, k, v = (torch.randn(1, 5, positions, 16, generator=random).bfloat16() for _ in range(3))
    exact = torch.nn.functional.scaled_dot_product_attention(q.double(), k.double(), v.double())
    with torch.inference_mode():
        found = kernels.attention(q, k, v)
    assert (found.double() - exact).norm() < 0.01 * exact.norm()


@pytest.mark.parametrize("precision", [torch.bfloat16, torch.float32, torch.float64])
def test_rope_in_inference_has_the_same_bits(precision: torch.dtype) -> None:
    x = torch.randn(2, 7, 3, 10, generator=torch.Generator().manual_seed(0)).to(precision)
    before = x.clone()
    wide = torch.float64 if precision == torch.float64 else torch.float32
    tables = rope_tables(7, 10, wide)
    expected = rotate(x, *tables)
    with torch.inference_mode():
        assert torch.equal(rotate(x, *tables), expected)
    assert torch.equal(x, before)


@pytest.mark.parametrize("precision", [torch.float32, torch.float64])
def test_entropies_of_long_rows(precision: torch.dtype) -> None:
    """Those of even shares, of one share that is all, and by NumPy of any others."""
    cells = MANY_CELLS
    rows = torch.zeros(3, cells, dtype=precision)
    rows[0] = 1 / cells
    rows[1, 5] = 1
    rows[2] = torch.rand(cells, generator=torch.Generator().manual_seed(0)).to(precision)
    rows[2] /= rows[2].sum()
    any_shares = rows[2].double().numpy()
    expected = [np.log(cells), 0.0, -(any_shares * np.log(any_shares)).sum()]
    assert np.allclose(entropies(rows).numpy(), expected, rtol=1e-5, atol=0)
