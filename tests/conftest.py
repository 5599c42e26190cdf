"""What several tests need: a small study's parameters, small puzzles, a small model."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from air.model.config import ModelConfig
from air.sources.datasets import make
from air.sources.maze import MazeGenerated
from air.sources.sudoku import SudokuGenerated
from air.tasks.registry import TASKS
from air.tasks.task import Puzzles

ROOT = Path(__file__).parents[1]
TITLES = {name: task.title for name, task in TASKS.items()}
torch.set_num_threads(1)
settings.register_profile("any machine", deadline=None)  # how long an example takes proves nothing
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def small_model() -> ModelConfig:
    return ModelConfig(
        layers=2, hidden_size=16, heads=2, expansion=2.0, inner_multiple=8, max_segments=3
    )


@pytest.fixture(scope="session")
def sudokus() -> tuple[Puzzles, Puzzles]:
    """Train and test puzzles, 4 x 4."""
    config = SudokuGenerated(
        source="generate", box=[2, 2], clues=9, train=40, test=20, augmentations=50
    )
    return make(config)[:2]


@pytest.fixture(scope="session")
def mazes() -> tuple[Puzzles, Puzzles]:
    """Train and test mazes, 5 x 5."""
    config = MazeGenerated(
        source="generate", size=5, walls=0.35, min_path=5, train=40, test=20, augmentations=8
    )
    return make(config)[:2]


@pytest.fixture(scope="session")
def small_study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study with every kind of file that the program reads (see ``tests/study.py``): to copy."""
    from tests.study import make_small  # late: few tests need what it imports

    folder = tmp_path_factory.mktemp("small")
    make_small(folder)
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """Headless Chromium: the system's, or playwright's own."""
    from playwright.sync_api import sync_playwright

    system = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "chrome"))), None)
    with sync_playwright() as playwright:
        if not (system or Path(playwright.chromium.executable_path).is_file()):
            pytest.skip("no Chromium here: install one, or run `playwright install chromium`")
        opened = playwright.chromium.launch(executable_path=system, args=["--no-sandbox"])
        yield opened
        opened.close()
