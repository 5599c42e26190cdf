"""Batches, optimisers, the loop: functions of (seed, step), and nothing lost on the way."""

import math
import os
import resource
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError, ProcessFailure
from torch.distributed.launcher import api

from air.devices import ComputeConfig, prepare
from air.evaluation.accuracy import evaluate
from air.files import UserError
from air.model.config import ModelConfig
from air.model.network import AIR, Gradient
from air.model.variants import Variant
from air.reading import read_tensors
from air.tasks.task import Puzzles
from air.training.batches import batch, batch_indices, min_segments
from air.training.config import TrainConfig
from air.training.curve import COLUMNS, format_rows
from air.training.loop import Diverged, Run, Stopped, Trainer, train
from air.training.optim import AdamATan2, SignSGD, learning_rate_factor
from air.training.parallel import LOST, launch
from air.training.state import CannotSave, StateFiles, run_key
from air.training.step import fresh_carry, training_step

CPU = torch.device("cpu")


@given(st.integers(1, 50), st.integers(1, 70), st.integers(0, 2**40))
def test_an_epoch_visits_every_group_once(groups: int, batch_size: int, seed: int) -> None:
    steps = math.ceil(3 * groups / batch_size)
    offers = [batch_indices(groups, batch_size, seed, step) for step in range(steps)]
    epochs = np.concatenate([epoch for epoch, _ in offers])
    visited = np.concatenate([group for _, group in offers])
    for epoch in range(3):
        assert sorted(visited[epochs == epoch]) == list(range(groups))


def test_a_batch_is_a_function_of_seed_and_step(sudokus: tuple[Puzzles, Puzzles]) -> None:
    first = batch(sudokus[0], 16, seed=1, step=7)
    batch(sudokus[0], 16, seed=1, step=3)
    again = batch(sudokus[0], 16, seed=1, step=7)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0], batch(sudokus[0], 16, seed=2, step=7)[0])
    assert not torch.equal(first[0], batch(sudokus[0], 16, seed=1, step=8)[0])


def test_exploration_is_as_often_and_as_long_as_asked() -> None:
    draws = torch.cat([min_segments(500, 16, 0.1, 0, step) for step in range(100)])
    explored = draws[draws > 0]
    assert abs(len(explored) / len(draws) - 0.1) < 0.005
    assert explored.min() == 2
    assert explored.max() == 16
    assert abs(explored.double().mean().item() - 9.0) < 0.2
    assert not min_segments(50, 16, 0.0, 0, 0).any()
    assert min_segments(50, 1, 1.0, 0, 0).tolist() == [1] * 50  # never beyond the last segment


def test_learning_rate() -> None:
    constant = TrainConfig(steps=100, warmup_steps=10)
    factors = [learning_rate_factor(constant, step, 100) for step in range(1, 101)]
    assert factors[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert factors[10:] == [1.0] * 90
    cosine = TrainConfig(steps=100, warmup_steps=10, schedule="cosine", lr_final=0.1)
    factors = [learning_rate_factor(cosine, step, 100) for step in range(10, 101)]
    assert factors[0] == 1.0
    assert factors[45] == pytest.approx(0.55)
    assert factors[-1] == pytest.approx(0.1)
    assert factors == sorted(factors, reverse=True)


def test_adam_atan2_is_its_formula() -> None:
    random = torch.Generator().manual_seed(0)
    start = torch.randn(5, generator=random, dtype=torch.float64)
    gradients = torch.randn(4, 5, generator=random, dtype=torch.float64)
    parameter, untouched = start.clone().requires_grad_(), torch.ones(2, requires_grad=True)
    optimizer = AdamATan2([parameter, untouched], lr=0.1, weight_decay=0.5, betas=(0.9, 0.95))
    m = v = torch.zeros(5, dtype=torch.float64)
    expected = start.clone()
    for t, gradient in enumerate(gradients, start=1):
        parameter.grad = gradient.clone()
        optimizer.step()
        m, v = 0.9 * m + 0.1 * gradient, 0.95 * v + 0.05 * gradient**2
        m_hat, v_hat = m / (1 - 0.9**t), v / (1 - 0.95**t)
        expected = expected * (1 - 0.1 * 0.5) - 0.1 * 1.27 * torch.atan2(m_hat, v_hat.sqrt())
    assert torch.allclose(parameter, expected, rtol=1e-12)
    assert torch.equal(untouched, torch.ones(2))  # no gradient: no step, no decay


def test_sign_sgd_is_its_formula() -> None:
    parameter = torch.tensor([1.0, -2.0, 3.0], requires_grad=True)
    parameter.grad = torch.tensor([0.3, -5.0, 0.0])
    SignSGD([parameter], lr=0.1, weight_decay=0.5).step()
    assert torch.allclose(parameter, torch.tensor([0.85, -1.8, 2.85]))


def small_run(config: ModelConfig, **changes: object) -> Run:
    recipe = {"steps": 12, "batch_size": 6, "lr": 0.01, "warmup_steps": 2, "log_every": 5}
    train_config = TrainConfig.model_validate({**recipe, **changes})
    return Run(config, Variant.parse("Lx_H"), train_config, "float32", seed=4)


def bytes_of(model: AIR) -> bytes:
    return b"".join(t.numpy().tobytes() for t in model.state_dict().values())


def test_compiling_changes_nothing_but_rounding(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    train_set, test_set = sudokus
    inputs, labels = batch(train_set, 6, seed=0, step=0)
    gradients = []
    for compiled in (False, True):
        model = AIR(small_model, Variant.parse("level_token_prepend"), 6, 16, seed=1)
        if compiled:
            model.compile_f()
        carry = fresh_carry(model, inputs, labels)
        _, outcome = training_step(model, carry, inputs, labels, torch.zeros(6, dtype=torch.int32))
        outcome.losses[0].backward()
        gradients.append({n: p.grad for n, p in model.named_parameters() if p.grad is not None})
    for name, gradient in gradients[0].items():
        assert (gradients[1][name] - gradient).abs().max() < 1e-4 * gradient.abs().max(), name

    run = small_run(small_model, steps=5)
    _, rows = train(run, train_set, CPU, tmp_path / "eager")
    model, compiled_rows = train(run, train_set, CPU, tmp_path / "compiled", compiled=True)
    assert compiled_rows[0]["loss"] == pytest.approx(rows[0]["loss"], rel=1e-4)
    accuracies = [
        evaluate(model, test_set, 10, CPU, compiled=compiled).cell_accuracy
        for compiled in (False, True)
    ]
    assert accuracies[0] == pytest.approx(accuracies[1], abs=0.02)


def interrupted(run: Run, puzzles: Puzzles, folder: Path, after: int) -> None:
    """Train until the signal that arrives after ``after`` batches."""
    count = 0
    draw = Puzzles.draw

    def draw_and_signal(self: Puzzles, *key: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        nonlocal count
        count += 1
        if count == after:
            os.kill(os.getpid(), signal.SIGTERM)
        return draw(self, *key)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Puzzles, "draw", draw_and_signal)
        with pytest.raises(Stopped, match="run again to go on"):
            train(run, puzzles, CPU, folder)


def test_a_resumed_run_ends_in_the_same_bytes(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    run = small_run(small_model)
    undisturbed, rows = train(run, sudokus[0], CPU, tmp_path / "a")
    for after in (3, 4):  # twice: a resumed run is interrupted too
        interrupted(run, sudokus[0], tmp_path / "b", after)
    resumed, resumed_rows = train(run, sudokus[0], CPU, tmp_path / "b")
    assert bytes_of(resumed) == bytes_of(undisturbed)
    assert format_rows(resumed_rows) == format_rows(rows)
    again, _ = train(run, sudokus[0], CPU, tmp_path / "c")
    assert bytes_of(again) == bytes_of(undisturbed)


def test_a_damaged_state_gives_way_to_the_one_before(
    tmp_path: Path,
    small_model: ModelConfig,
    sudokus: tuple[Puzzles, Puzzles],
    caplog: pytest.LogCaptureFixture,
) -> None:
    run = small_run(small_model)
    undisturbed, _ = train(run, sudokus[0], CPU, tmp_path / "a")
    for after in (4, 4):
        interrupted(run, sudokus[0], tmp_path / "b", after)
    state = tmp_path / "b" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    resumed, _ = train(run, sudokus[0], CPU, tmp_path / "b")
    assert "set aside" in caplog.text
    assert bytes_of(resumed) == bytes_of(undisturbed)


def test_two_processes_that_find_one_state_damaged_both_go_on(
    tmp_path: Path,
    small_model: ModelConfig,
    sudokus: tuple[Puzzles, Puzzles],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = small_run(small_model)
    for after in (4, 4):
        interrupted(run, sudokus[0], tmp_path, after)
    path = tmp_path / "state.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    read = read_tensors
    others: list[tuple[Any, dict[str, Any]] | None] = []

    def read_beside_another(*arguments: Any, **options: Any) -> Any:
        if not others:  # the other process comes to it between our reading and our renaming
            others.append(None)
            try:
                return read(*arguments, **options)
            finally:
                others[0] = StateFiles(tmp_path).load(CPU)
        return read(*arguments, **options)

    monkeypatch.setattr("air.training.state.read_tensors", read_beside_another)
    ours, theirs = StateFiles(tmp_path).load(CPU), others[0]
    assert ours is not None
    assert theirs is not None
    assert ours[1]["step"] == theirs[1]["step"]


def test_training_off_the_main_thread(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    done: list[AIR] = []
    run = small_run(small_model, steps=2)
    thread = threading.Thread(target=lambda: done.append(train(run, sudokus[0], CPU, tmp_path)[0]))
    thread.start()
    thread.join()
    assert done


def test_a_model_learns(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    run = small_run(small_model, steps=80, log_every=10)
    model, rows = train(run, sudokus[0], CPU, tmp_path)
    assert rows[-1]["lm_loss"] < 0.8 * rows[0]["lm_loss"]
    lines = format_rows(rows).splitlines()
    assert lines[0].split(",") == list(COLUMNS)
    assert [line.split(",")[0] for line in lines[1:]] == [str(s) for s in range(10, 81, 10)]
    measures = evaluate(model, sudokus[1], 8, CPU)
    assert len(measures.exact_accuracy_by_segment) == small_model.max_segments
    assert measures.exact_accuracy == measures.exact_accuracy_by_segment[-1]
    assert 0.3 < measures.cell_accuracy <= 1
    assert measures == evaluate(model, sudokus[1], 20, CPU)  # whatever the batch


def test_a_diverged_run_says_so(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    run = small_run(small_model, lr=1e38, warmup_steps=0)
    with pytest.raises(Diverged, match="not finite at step 2"):
        train(run, sudokus[0], CPU, tmp_path)


def loss_and_gradient(model: AIR, gradient: Gradient) -> tuple[float, torch.Tensor, torch.Tensor]:
    """The loss of a first segment, and its gradient by the shared weights, by two directions."""
    inputs = torch.arange(48).reshape(3, 16) % 6
    model.zero_grad(set_to_none=True)
    carry = fresh_carry(model, inputs, inputs)
    _, outcome = training_step(
        model, carry, inputs, inputs, torch.zeros(3, dtype=torch.int32), gradient=gradient,
        q_continue=False,
    )  # fmt: skip
    outcome.losses[0].backward()
    weight = model.get_parameter("stacks.0.blocks.0.swiglu.down.weight")
    assert weight.grad is not None
    return outcome.losses[0].item(), weight, weight.grad.clone()


@pytest.mark.parametrize(
    ("H_cycles", "L_cycles", "exact"),
    [
        (2, 2, {"full"}),
        (1, 2, {"full", "last_cycle"}),
        (1, 1, {"full", "last_cycle", "one_step"}),
    ],
)
def test_which_updates_carry_a_gradient(
    small_model: ModelConfig, H_cycles: int, L_cycles: int, exact: set[Gradient]
) -> None:
    """Only where all updates carry one is it the derivative of the loss, as measured."""
    config = small_model.model_copy(update={"H_cycles": H_cycles, "L_cycles": L_cycles})
    model = AIR(config, Variant.parse("Lx_H"), 6, 16, "float64", seed=3)
    direction = torch.randn(16, 32, generator=torch.Generator().manual_seed(0)).double()
    modes: tuple[Gradient, ...] = ("one_step", "last_cycle", "full")
    for mode in modes:
        _, weight, gradient = loss_and_gradient(model, mode)
        direction = direction[: weight.shape[0], : weight.shape[1]]
        losses = []
        for step in (1e-5, -2e-5):
            with torch.no_grad():
                weight += step * direction
            losses.append(loss_and_gradient(model, mode)[0])
        with torch.no_grad():
            weight += 1e-5 * direction
        measured = (losses[0] - losses[1]) / 2e-5
        claimed = (gradient * direction).sum().item()
        assert (abs(measured - claimed) < 1e-6 * abs(measured)) == (mode in exact), mode


def test_without_the_continue_logit(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    calls = 0
    segment = AIR.segment

    def counted(self: AIR, *arguments: Any, **keywords: Any) -> Any:
        nonlocal calls
        calls += 1
        return segment(self, *arguments, **keywords)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AIR, "segment", counted)
        for q_continue, expected in ((True, 10), (False, 5)):
            calls = 0
            run = small_run(small_model, steps=5, q_continue=q_continue)
            _, rows = train(run, sudokus[0], CPU, tmp_path / str(q_continue))
            assert calls == expected
            assert (rows[0]["q_continue_loss"] > 0) == q_continue
    # a slot halts where its halt logit is positive
    model = AIR(small_model, Variant.parse("Lx_H"), 6, 16)
    inputs = torch.arange(48).reshape(3, 16) % 6
    for bias, halts in ((1.0, True), (-1.0, False)):
        torch.nn.init.constant_(model.q_head.bias, bias)
        carry = fresh_carry(model, inputs, inputs)
        least = torch.zeros(3, dtype=torch.int32)
        _, outcome = training_step(model, carry, inputs, inputs, least, q_continue=False)
        assert outcome.halted.tolist() == [halts] * 3


def test_clipping_and_the_norm_that_is_told(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    norms: list[float] = []
    step = AdamATan2.step

    def spied(self: AdamATan2, closure: Any = None) -> None:
        gradients = [p.grad for p in self.param_groups[0]["params"] if p.grad is not None]
        norms.append(torch.linalg.vector_norm(torch.cat([g.reshape(-1) for g in gradients])).item())
        step(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AdamATan2, "step", spied)
        _, rows = train(small_run(small_model), sudokus[0], CPU, tmp_path / "free")
        free = list(norms)
        norms.clear()
        train(small_run(small_model, clip=0.01), sudokus[0], CPU, tmp_path / "clipped")
    assert rows[0]["gradient_norm"] == pytest.approx(free[4], rel=0.01)  # less the puzzle embedding
    assert min(free) > 0.01
    assert max(norms) <= 0.01 * (1 + 1e-5)


def test_the_mean_of_the_weights_is_kept(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    start = AIR(small_model, Variant.parse("Lx_H"), 6, 16, seed=4).state_dict()
    weights = [start]
    for steps in (1, 2):
        run = small_run(small_model, steps=steps)
        weights.append(train(run, sudokus[0], CPU, tmp_path / str(steps))[0].state_dict())
    kept, _ = train(small_run(small_model, steps=2, ema=0.75), sudokus[0], CPU, tmp_path / "ema")
    for name, tensor in kept.named_parameters():
        first = 0.75 * weights[0][name] + 0.25 * weights[1][name]
        assert torch.allclose(tensor, 0.75 * first + 0.25 * weights[2][name], atol=1e-6), name
    # level tokens are kept in bfloat16, in which a small step rounds to nothing; their mean is not
    run = small_run(small_model, steps=40, lr=0.05, ema=0.9)
    run.variant, run.precision = Variant.parse("level_token_addition"), "bfloat16"
    trainer = Trainer(run, sudokus[0], CPU, tmp_path / "tokens")
    kept, _ = trainer.fit()
    assert {tensor.dtype for tensor in trainer.state.mean.values()} == {torch.float32}
    for name, tensor in kept.named_parameters():
        assert torch.equal(tensor, trainer.state.mean[name].to(tensor.dtype)), name
    # it survives an interruption
    run = small_run(small_model, ema=0.75)
    undisturbed, _ = train(run, sudokus[0], CPU, tmp_path / "a")
    interrupted(run, sudokus[0], tmp_path / "b", 4)
    assert bytes_of(train(run, sudokus[0], CPU, tmp_path / "b")[0]) == bytes_of(undisturbed)


def test_validation_groups_are_held_out(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    train_set = sudokus[0]
    run = small_run(small_model, validation=10)
    model, rows = train(run, train_set, CPU, tmp_path / "a")
    assert len(format_rows(rows).splitlines()[1].split(",")) == len(COLUMNS)
    expected = evaluate(model, train_set.slice(30, 40), 10, CPU).exact_accuracy
    assert rows[-1]["validation_accuracy"] == expected
    # the rest is all that training knows of: other held-out puzzles change nothing
    fewer, _ = train(small_run(small_model), train_set.first(30), CPU, tmp_path / "b")
    assert bytes_of(fewer) == bytes_of(model)


def test_epochs_are_offers_of_each_group() -> None:
    assert TrainConfig(epochs=20_000, batch_size=768).total_steps(1000) == 26_041  # the paper's
    for lengths in ({}, {"epochs": 1, "steps": 1}):
        with pytest.raises(ValueError, match="either steps or epochs"):
            TrainConfig.model_validate(lengths)


def test_a_rollout_may_go_further(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    model = AIR(small_model, Variant.parse("Lx_H"), 6, 16, seed=1)
    usual = evaluate(model, sudokus[1], 7, CPU)
    deep = evaluate(model, sudokus[1], 20, CPU, segments=9)
    assert len(deep.exact_accuracy_by_segment) == 9
    assert deep.exact_accuracy_by_segment[:3] == usual.exact_accuracy_by_segment
    assert (deep.exact_accuracy, deep.cell_accuracy) == (
        usual.exact_accuracy, usual.cell_accuracy,
    )  # fmt: skip


def test_a_full_disk_leaves_the_state_before(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    run = small_run(small_model)
    undisturbed, _ = train(run, sudokus[0], CPU, tmp_path / "a")
    interrupted(run, sudokus[0], tmp_path / "b", 5)
    before = (tmp_path / "b" / "state.safetensors").read_bytes()
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limit[1]))  # no file may be larger
    try:
        with pytest.raises(CannotSave, match=r"cannot save the state at step .* is intact"):
            train(run, sudokus[0], CPU, tmp_path / "b", save_every_seconds=0.0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (tmp_path / "b" / "state.safetensors").read_bytes() == before
    assert sorted(path.name for path in (tmp_path / "b").iterdir()) == ["state.safetensors"]
    resumed, _ = train(run, sudokus[0], CPU, tmp_path / "b")
    assert bytes_of(resumed) == bytes_of(undisturbed)


def test_another_configuration_never_finds_the_state() -> None:
    key = run_key({"lr": 1, "puzzles": {"seed": 0, "sha256": "one"}})
    assert key == run_key({"puzzles": {"sha256": "one", "seed": 0}, "lr": 1})
    assert key != run_key({"lr": 2, "puzzles": {"seed": 0, "sha256": "one"}})
    assert key != run_key({"lr": 1, "puzzles": {"seed": 0, "sha256": "two"}})


def test_a_missing_device_is_one_sentence() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UserError, match="cuda is configured, but this machine has none"):
            prepare(ComputeConfig(device="cuda"))
        assert prepare(ComputeConfig(device="auto")) == CPU


@pytest.mark.parametrize(
    ("codes", "status", "said"),
    [
        ([1, LOST], 1, ""),  # the first has said what went wrong, and took the others with it
        ([2, 2], 2, ""),
        ([LOST, LOST], 1, "one process died or stopped answering"),
        ([-signal.SIGKILL, LOST], 1, "one process died (SIGKILL)"),
        ([130, LOST], 1, "one process died or stopped answering"),
        ([130, 130], 130, ""),
    ],
)
def test_what_is_said_when_several_processes_have_ended(
    codes: list[int], status: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = {
        rank: ProcessFailure(local_rank=rank, pid=1, exitcode=code, error_file="none")
        for rank, code in enumerate(codes)
    }

    def fail(*arguments: str) -> None:
        raise ChildFailedError("air", failures)

    monkeypatch.setattr(api, "elastic_launch", lambda *options: fail)
    code, words = launch(len(codes), [])
    assert code == status
    assert words.startswith(said)
    assert bool(words) == bool(said)
