"""What a user sees first: progress, how much is said, the version, completion, no false alarms."""

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

import air
from air import progress
from air.cli import app
from air.devices import ComputeConfig, prepare
from air.files import UserError
from air.progress import Progress
from tests.conftest import ROOT

MAIN = (sys.executable, "-c", "from air.cli import main; main()")


class Clock:
    """A clock that the test moves."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Clock:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    caplog.set_level(logging.INFO, "air")
    return clock


def steps(clock: Clock, bar: Progress, count: int, seconds: float) -> None:
    for _ in range(count):
        clock.now += seconds
        bar.advance()


def test_time_left_does_not_count_the_compiler(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """Fifty seconds for the first step, then eight steps a second: two minutes, not 20 hours."""
    with Progress("train", 1000, "steps", compiles=True) as bar:
        assert caplog.messages == ["train: compiling"]
        steps(clock, bar, 1, 50.0)
        steps(clock, bar, 39, 0.125)
        assert len(caplog.messages) == 1
        steps(clock, bar, 1, 0.125)
        assert caplog.messages[1:] == ["train: 41/1,000 steps, 8.0/s, 120 s left"]


def test_time_left_follows_the_last_half_minute(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Progress("data", 1000, "puzzles") as bar:
        steps(clock, bar, 1, 100.0)
        assert caplog.messages[-1] == "data: 1/1,000 puzzles, 0.0/s, 99900 s left"
        steps(clock, bar, 100, 1.0)
        assert caplog.messages[-1] == "data: 101/1,000 puzzles, 1.0/s, 899 s left"


def test_the_last_line_has_the_rate_of_the_whole(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Progress("train", 30, "steps", done=10, compiles=True) as bar:
        steps(clock, bar, 1, 21.0)
        steps(clock, bar, 19, 1.0)
    assert caplog.messages[-1] == "train: 30/30 steps, 0.5/s, 40.0 s"


def test_no_new_piece_is_no_estimate(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    with Progress("data", 10, "puzzles") as bar:
        clock.now = 6.0
        bar.advance(0)
        assert caplog.messages == ["data: 0/10 puzzles, 0.0/s, waiting"]
        bar.advance(10)


def test_a_quiet_logger_and_a_silent_process_show_nothing(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    with Progress("train", 1, "steps", silent=True, compiles=True) as bar:
        bar.advance()
    caplog.set_level(logging.WARNING, "air")
    with Progress("train", 1, "steps", compiles=True) as bar:
        bar.advance()
    assert caplog.messages == []


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "params.yaml").write_text((ROOT / "presets/smoke.yaml").read_text(encoding="utf-8"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, list(arguments))


VALID = "params.yaml is valid: preset smoke"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("check", [VALID]),
        ("check --quiet", []),
        ("-q check", []),
        ("check -v", ["debug: read params.yaml", "debug: wrote results/params.json", VALID]),
        ("-v check", ["debug: read params.yaml", "debug: wrote results/params.json", VALID]),
    ],
)
def test_every_command_says_as_much_as_it_is_asked_for(
    folder: Path, arguments: str, said: list[str]
) -> None:
    ended = run(*arguments.split())
    assert ended.exit_code == 0, ended.output
    assert ended.stderr.splitlines() == said
    assert ended.stdout == ""


def test_quiet_commands_still_print_what_they_are_asked_for(folder: Path) -> None:
    ended = run("variants", "-q")
    assert "Lx_H" in ended.stdout
    assert ended.stderr == ""


def test_quiet_commands_still_say_what_is_wrong(folder: Path) -> None:
    ended = subprocess.run(
        [*MAIN, "train", "sudoku", "Lx_H", "-q"], cwd=folder, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr.startswith("air: data/sudoku/train.safetensors: there is no such file")
    assert len(ended.stderr.splitlines()) == 1


@pytest.mark.parametrize("arguments", ["-v check -q", "check -q -v", "-q -v check"])
def test_verbose_and_quiet_exclude_each_other(folder: Path, arguments: str) -> None:
    ended = subprocess.run([*MAIN, *arguments.split()], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 2
    assert "--verbose and --quiet exclude each other" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert not (folder / "results").exists()


def test_the_version(folder: Path) -> None:
    assert run("--version").stdout == f"air {air.__version__}\n"


def test_the_shell_completes_commands_tasks_and_variants(folder: Path) -> None:
    """What `air --install-completion` makes a shell ask."""
    asked = {"air tr": {"train"}, "air train su": {"sudoku"}, "air train maze L2x_H2": {"L2x_H2x"}}
    for words, wanted in asked.items():
        words_before = str(len(words.split()) - 1)
        more = {"_AIR_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": words_before}
        ended = subprocess.run(
            MAIN, cwd=folder, env={**os.environ, **more}, capture_output=True, text=True
        )
        assert set(ended.stdout.split()) == wanted, ended.stderr


def without_a_driver() -> bool:
    warnings.warn("CUDA initialization: no driver is to be found", stacklevel=2)
    return False


def test_no_alarm_on_a_machine_without_a_gpu(
    monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", without_a_driver)
    for device in ("auto", "cpu"):
        assert prepare(ComputeConfig.model_validate({"device": device})).type == "cpu"
    assert recwarn.list == []


def test_a_gpu_that_was_asked_for_and_is_not_there_is_refused_with_the_reason(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", without_a_driver)
    with pytest.raises(UserError, match=r"this machine has none \(CUDA initialization: no driver"):
        prepare(ComputeConfig(device="cuda"))
