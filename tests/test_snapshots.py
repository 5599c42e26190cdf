"""The weights at steps on the way: which steps, what is kept, and nothing lost or changed by it."""

import contextlib
import re
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import air
from air.checkpoint import save_model, save_snapshots, snapshot_steps
from air.cli import app
from air.files import UserError
from air.model.config import ModelConfig
from air.model.network import AIR, Precision
from air.model.variants import Variant
from air.tasks.task import Puzzles
from air.training.config import TrainConfig
from air.training.loop import Run, Trainer, train
from air.training.snapshots import Snapshots
from air.training.state import CannotSave
from tests.conftest import ROOT
from tests.test_training import CPU, bytes_of, interrupted, small_run


@given(st.integers(2, 40), st.integers(1, 30_000))
def test_a_number_of_snapshots_is_spread_over_the_logarithm(number: int, last: int) -> None:
    config = TrainConfig(epochs=1, snapshots=number)
    if number > last + 1:
        with pytest.raises(ValueError, match=f"snapshots: {number} is not allowed: there may be"):
            config.snapshot_steps(last)
        return
    steps = config.snapshot_steps(last)
    assert len(set(steps)) == number
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, last)


def test_the_steps_of_a_long_training() -> None:
    steps = TrainConfig(epochs=1, snapshots=6).snapshot_steps(10_000)
    assert steps == [0, 1, 10, 100, 1000, 10_000]
    assert TrainConfig(steps=9).snapshot_steps(9) == []
    assert TrainConfig(steps=9, snapshots=[3, 9]).snapshot_steps(9) == [3, 9]


@pytest.mark.parametrize(
    ("snapshots", "said"),
    [
        (1, "snapshots: 1 is not allowed: there may be 2 (step 0 and the last) to 13 in 12 steps"),
        (14, "snapshots: 14 is not allowed"),
        ([3, 3], "snapshots: 3 is listed twice"),
        ([5, 3], "snapshots: 5 comes before 3; sort the steps"),
        ([0, 13], "snapshots: 13 is not allowed: steps go from 0 to 12"),
        ([-1], "snapshots: -1 is not allowed"),
    ],
)
def test_steps_that_are_not_run_are_refused(snapshots: int | list[int], said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        TrainConfig(steps=12, snapshots=snapshots)


def copied(model: AIR) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def kept(trainer: Trainer, path: Path) -> Path:
    save_snapshots(trainer.state.model, trainer.snapshots.read(), path, {})
    return path


@pytest.mark.parametrize(
    ("variant", "precision", "ema"),
    [("Lx_H", "float32", None), ("level_token_addition", "bfloat16", 0.75)],
)
def test_the_last_snapshot_is_the_model_and_the_first_its_start(
    tmp_path: Path,
    small_model: ModelConfig,
    sudokus: tuple[Puzzles, Puzzles],
    variant: str,
    precision: Precision,
    ema: float | None,
) -> None:
    train_config = small_run(small_model, ema=ema, snapshots=[0, 7, 12]).train
    run = Run(small_model, Variant.parse(variant), train_config, precision, seed=4)
    trainer = Trainer(run, sudokus[0], CPU, tmp_path / "state")
    model, _ = trainer.fit()
    path = kept(trainer, tmp_path / "snapshots.safetensors")
    assert snapshot_steps(path) == [0, 7, 12]
    start = AIR(small_model, run.variant, 6, 16, precision, seed=4)
    first, middle, last = (air.load(path, step).state_dict() for step in (0, 7, 12))
    for name, tensor in model.state_dict().items():
        assert torch.equal(last[name], tensor), name
        assert torch.equal(first[name], start.state_dict()[name]), name
    assert not torch.equal(middle["embedding"], last["embedding"])
    # a run that ends at that step, or keeps no snapshots, has the same weights
    shorter = Run(small_model, run.variant, small_run(small_model, steps=7, ema=ema).train,
                  precision, seed=4)  # fmt: skip
    at_seven = train(shorter, sudokus[0], CPU, tmp_path / "seven")[0].state_dict()
    assert all(torch.equal(middle[name], tensor) for name, tensor in at_seven.items())
    none = Run(small_model, run.variant, small_run(small_model, ema=ema).train, precision, seed=4)
    alone = train(none, sudokus[0], CPU, tmp_path / "none")[0].state_dict()
    assert all(torch.equal(alone[name], tensor) for name, tensor in model.state_dict().items())


def test_half_the_size_computes_the_same_in_bfloat16(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    run = small_run(small_model, snapshots=2, snapshot_precision="bfloat16")
    run.precision, run.variant = "bfloat16", Variant.parse("L3x_H+linear")
    trainer = Trainer(run, sudokus[0], CPU, tmp_path / "state")
    trained, _ = trainer.fit()
    half = kept(trainer, tmp_path / "half.safetensors")
    wide = tmp_path / "wide.safetensors"
    save_snapshots(trained, {0: copied(trained), 12: copied(trained)}, wide, {})
    assert half.stat().st_size < 0.6 * wide.stat().st_size
    rounded = air.load(half, 12)
    assert not torch.equal(rounded.embedding, trained.embedding)
    inputs = torch.from_numpy(sudokus[1].inputs[:5]).long()
    states = []
    for model in (trained.eval(), rounded):
        with torch.inference_mode():
            z_L, z_H = model.segment(model.embed(inputs), *model.fresh_states(5))
            states.append([z_L, z_H, *model.heads(z_H)])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(*states, strict=True))


def test_a_resumed_run_keeps_the_same_snapshots(
    tmp_path: Path, small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    run = small_run(small_model, snapshots=6, ema=0.75)
    undisturbed = Trainer(run, sudokus[0], CPU, tmp_path / "a")
    model, _ = undisturbed.fit()
    for after in (3, 4):
        interrupted(run, sudokus[0], tmp_path / "b", after)
    resumed = Trainer(run, sudokus[0], CPU, tmp_path / "b")
    assert 0 < resumed.state.step < 12
    assert bytes_of(resumed.fit()[0]) == bytes_of(model)
    whole, again = (
        kept(trainer, tmp_path / name).read_bytes()
        for trainer, name in ((undisturbed, "a.safetensors"), (resumed, "b.safetensors"))
    )
    assert whole == again


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b"\0" * 9)])
def test_a_run_that_has_lost_a_snapshot_begins_anew(
    tmp_path: Path,
    small_model: ModelConfig,
    sudokus: tuple[Puzzles, Puzzles],
    caplog: pytest.LogCaptureFixture,
    damage: object,
) -> None:
    run = small_run(small_model, snapshots=[0, 1, 12])
    interrupted(run, sudokus[0], tmp_path, 5)
    assert callable(damage)
    damage(tmp_path / "snapshot-1.safetensors")
    trainer = Trainer(run, sudokus[0], CPU, tmp_path)
    assert trainer.state.step == 0
    assert "snapshot-1.safetensors: is missing or damaged" in caplog.text
    trainer.fit()
    assert sorted(trainer.snapshots.read()) == [0, 1, 12]


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    snapshots = Snapshots(tmp_path / "file", [0], "float32")
    with pytest.raises(CannotSave, match="cannot save the snapshot at step 0"):
        snapshots.keep(0, {"a": torch.zeros(1)})


def test_what_is_no_snapshot_is_named(tmp_path: Path, small_model: ModelConfig) -> None:
    model = AIR(small_model, Variant.parse("Lx_H"), 6, 16)
    path = tmp_path / "snapshots.safetensors"
    for snapshots, said in (
        ({}, "holds no snapshot of step 7; there are: none"),
        ({5: copied(model), 9: copied(model)}, "holds no snapshot of step 7; there are: 5, 9"),
        ({7: {}}, "missing: embedding"),
    ):
        save_snapshots(model, snapshots, path, {})
        with pytest.raises(UserError, match=said):
            air.load(path, step=7)
    with pytest.raises(UserError, match="is not a model file written by air"):
        air.load(path)
    save_model(model, path, {})
    with pytest.raises(UserError, match="is not a snapshots file written by air"):
        air.load(path, step=7)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match="not a readable safetensors file"):
        snapshot_steps(path)


def test_the_stage_writes_the_same_model_with_and_without(tmp_path: Path) -> None:
    text = (ROOT / "presets/smoke.yaml").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("    snapshot")]
    text = "\n".join(lines).replace("[Lx_H], seeds: [0], puzzles: 32", "[], seeds: []")
    text = text.replace("steps: 250", "steps: 3").replace("train: 500", "train: 20")
    models = []
    for name, snapshots in (("without", ""), ("with", "\n    snapshots: [0, 3]")):
        folder = tmp_path / name
        folder.mkdir()
        shown = text.replace("steps: 3", f"steps: 3{snapshots}")
        (folder / "params.yaml").write_text(shown, encoding="utf-8")
        with contextlib.chdir(folder):
            for command in (["data", "maze"], ["train", "maze", "Lx_H"]):
                ended = CliRunner().invoke(app, command)
                assert ended.exit_code == 0, ended.output
            run = Path("results/maze/Lx_H/seed0")
            models.append((run / "model.safetensors").read_bytes())
            steps = snapshot_steps(run / "snapshots.safetensors")
            assert steps == ([0, 3] if snapshots else [])
    assert models[0] == models[1]
    # with `epochs`, how many steps there are is known when the puzzles are
    shown = text.replace("steps: 3", "epochs: 1\n    snapshots: [0, 99]")
    (folder / "params.yaml").write_text(shown, encoding="utf-8")
    with contextlib.chdir(folder):
        ended = CliRunner().invoke(app, ["train", "maze", "Lx_H"])
    assert isinstance(ended.exception, UserError)
    said = "params.yaml: maze.train: snapshots: 99 is not allowed: steps go from 0 to 1"
    assert str(ended.exception) == said
