"""Batches, optimisers, the loop: functions of (seed, step), and nothing lost on the way."""

import math
import os
import signal
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from air.devices import ComputeConfig, prepare
from air.files import UserError
from air.model.config import ModelConfig
from air.model.halting import fresh_carry, training_step
from air.model.network import AIR
from air.model.variants import Variant
from air.tasks.task import Puzzles
from air.training.batches import batch, batch_indices, min_segments
from air.training.config import TrainConfig
from air.training.evaluate import evaluate
from air.training.loop import COLUMNS, Diverged, Run, Stopped, format_rows, train
from air.training.optim import AdamATan2, SignSGD, learning_rate_factor
from air.training.state import run_key

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


def test_learning_rate() -> None:
    constant = TrainConfig(steps=100, warmup_steps=10)
    factors = [learning_rate_factor(constant, step) for step in range(1, 101)]
    assert factors[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert factors[10:] == [1.0] * 90
    cosine = TrainConfig(steps=100, warmup_steps=10, schedule="cosine", lr_final=0.1)
    factors = [learning_rate_factor(cosine, step) for step in range(10, 101)]
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
        evaluate(model, test_set, 10, CPU, compiled=compiled)["cell_accuracy"]
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
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = small_run(small_model)
    undisturbed, _ = train(run, sudokus[0], CPU, tmp_path / "a")
    for after in (4, 4):
        interrupted(run, sudokus[0], tmp_path / "b", after)
    state = tmp_path / "b" / "state.safetensors"
    state.write_bytes(state.read_bytes()[:1000])
    resumed, _ = train(run, sudokus[0], CPU, tmp_path / "b")
    assert "set aside" in capsys.readouterr().err
    assert bytes_of(resumed) == bytes_of(undisturbed)


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
    assert len(measures["exact_accuracy_by_segment"]) == small_model.max_segments
    assert measures["exact_accuracy"] == measures["exact_accuracy_by_segment"][-1]
    assert 0.3 < measures["cell_accuracy"] <= 1
    assert measures == evaluate(model, sudokus[1], 20, CPU)  # whatever the batch


def test_a_diverged_run_says_so(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    run = small_run(small_model, lr=1e38, warmup_steps=0)
    with pytest.raises(Diverged, match="not finite at step 5"):
        train(run, sudokus[0], CPU, tmp_path)


def test_another_configuration_never_finds_the_state(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.write_bytes(b"one")
    key = run_key({"lr": 1}, data)
    assert key == run_key({"lr": 1}, data)
    assert key != run_key({"lr": 2}, data)
    data.write_bytes(b"two")
    assert key != run_key({"lr": 1}, data)


def test_a_missing_device_is_one_sentence() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.cuda, "is_available", lambda: False)
        with pytest.raises(UserError, match="cuda was asked for, but this machine has none"):
            prepare(ComputeConfig(device="cuda"))
        assert prepare(ComputeConfig(device="auto")) == CPU
