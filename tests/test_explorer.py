"""The explorer: the model in the browser against the model in Python, and the page as a reader."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from air import paths
from air.checkpoint import load_model
from air.explorer import export
from air.model.boards import stablemax, tensors
from air.model.config import ModelConfig
from air.model.layers import AttentionHook
from air.model.network import AIR, Level, Observer, Update
from air.model.variants import PAPER_VARIANTS, Variant
from air.tasks.registry import load_puzzles
from air.tasks.task import Puzzles
from tests.conftest import ROOT

SCRIPT = Path(export.__file__).with_name("model.js")

# One rollout as the page computes it: boards, margins, attention of one cell, logits of the end.
ROLLOUT = """
async ([file, inputs, cell, frozen, begin]) => {
  const { AIR, Rollout, read_tensors } = globalThis.air;
  const bytes = Uint8Array.from(atob(file), (c) => c.charCodeAt(0)).buffer;
  const model = new AIR(read_tensors(bytes));
  const rollout = new Rollout(model, inputs, frozen, begin);
  const shown = { L: [], H: [] }, attention = [];
  for (let t = 0; rollout.step(); t++) {
    for (const level of ["L", "H"]) shown[level].push(rollout.shown(level, t));
    const rows = t < 6 ? rollout.attention(t, cell) : null;
    attention.push(rows && rows.map((row) => Array.from(row)));
  }
  const end = model.heads(rollout.states.at(-1).H);
  const boards = (level) => shown[level].map((one) => Array.from(one.board));
  const margins = (level) => shown[level].map((one) => Array.from(one.margin));
  return {
    boards: [boards("L"), boards("H")], margins: [margins("L"), margins("H")], attention,
    logits: Array.from(end.logits), q: [end.q_halt, end.q_continue],
  };
}
"""


@pytest.fixture(scope="module")
def script(browser: Any) -> Any:
    """A blank page in which model.js has been loaded as a module."""
    page = browser.new_page()
    page.evaluate(
        """async (source) => {
          const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
          globalThis.air = await import(url);
        }""",
        SCRIPT.read_text(encoding="utf-8"),
    )
    yield page
    page.close()


def random_model(config: ModelConfig, variant: str, puzzles: Puzzles) -> AIR:
    """A model whose weights are all random, those too that start at zero."""
    torch.manual_seed(1)
    task = puzzles.task
    model = AIR(config, Variant.parse(variant), len(task.vocabulary), task.cells, seed=2)
    for parameter in model.parameters():
        if not parameter.any() or (parameter == parameter.flatten()[0]).all():
            torch.nn.init.normal_(parameter, std=0.5)
    if model.variant.operator == "hadamard":  # whose random weights are chaotic: float32 and
        with torch.no_grad():  # float64 in PyTorch itself are apart by 5e-4 in the end
            model.embedding *= 0.5
    return model.eval()


class Recorder(Observer):
    """Boards, margins and the attention of one cell, as ROLLOUT returns them."""

    def __init__(self, model: AIR, cell: int) -> None:
        self.model, self.cell = model, cell
        self.boards: list[list[Any]] = [[], []]
        self.margins: list[list[Any]] = [[], []]
        self.rows: list[list[Any]] = []

    def attention(self, update: Update) -> AttentionHook | None:
        rows: list[Any] = []
        self.rows.append(rows)

        def see(layer: int, q: torch.Tensor, k: torch.Tensor) -> None:
            q, k = (y[0, :, self.model.attention_lead :] for y in (q, k))
            scores = (q[:, self.cell, None] @ k.transpose(-1, -2))[:, 0] / q.shape[-1] ** 0.5
            rows.append(scores.softmax(dim=-1).flatten().tolist())

        return see

    def after(self, update: Update, z_L: torch.Tensor, z_H: torch.Tensor) -> None:
        for place, z in enumerate((z_L, z_H)):
            logits = self.model.decode(z)[0]
            best, second = stablemax(logits).topk(2, dim=-1).values.unbind(-1)
            self.boards[place].append(logits.argmax(dim=-1).tolist())
            self.margins[place].append((best - second).tolist())


@torch.inference_mode()
def compare(
    script: Any,
    model: AIR,
    file: bytes,
    puzzles: Puzzles,
    frozen: Level | None = None,
    begin: int = 0,
) -> None:
    """Hold every board of every puzzle's rollout against the browser's: equal; the rest to 1e-3."""
    text = base64.b64encode(file).decode()
    inputs, _ = tensors(puzzles.inputs, puzzles.labels)
    for cell, board in enumerate(inputs):
        found = script.evaluate(ROLLOUT, [text, board.tolist(), cell, frozen, begin])
        recorder = Recorder(model, cell)
        x, (z_L, z_H) = model.embed(board[None]), model.fresh_states(1)
        for segment in range(model.config.max_segments):
            freeze = frozen if segment >= begin else None
            z_L, z_H = model.segment(x, z_L, z_H, freeze, recorder)
        assert found["boards"] == recorder.boards
        np.testing.assert_allclose(found["margins"], recorder.margins, atol=1e-3)
        heads = model.heads(z_H)
        np.testing.assert_allclose(found["logits"], heads.logits.flatten(), atol=1e-3)
        np.testing.assert_allclose(found["q"], [heads.q_halt[0], heads.q_continue[0]], atol=1e-3)
        seen = iter(recorder.rows)
        for t, rows in enumerate(found["attention"][:6]):
            level = "H" if t % (model.config.L_cycles + 1) == model.config.L_cycles else "L"
            if level == frozen and begin == 0:
                assert rows is None
            else:
                np.testing.assert_allclose(rows, next(seen), atol=1e-3)


@pytest.mark.parametrize("variant", PAPER_VARIANTS)
@pytest.mark.parametrize("task", ["sudokus", "mazes"])
def test_the_browsers_model_is_the_model(
    task: str, variant: str, small_model: ModelConfig, script: Any, request: pytest.FixtureRequest
) -> None:
    puzzles = request.getfixturevalue(task)[1].first(3)
    model = random_model(small_model, variant, puzzles)
    compare(script, model, export.model_file(model, torch.float32), puzzles)


MODELS = sorted((ROOT / "results").glob("*/*/*/model.safetensors"))


@pytest.mark.slow
@pytest.mark.skipif(not MODELS, reason="the study has not been computed here")
@pytest.mark.parametrize("path", MODELS, ids=lambda path: "-".join(path.parts[-4:-1]))
def test_the_browsers_trained_models_are_the_models(path: Path, script: Any) -> None:
    model = load_model(path)
    puzzles = load_puzzles(ROOT / paths.data(path.parts[-4], "test")).first(20)
    file = export.model_file(model, export.shortest_format(model, puzzles))
    compare(script, export.in_float32(model), file, puzzles)


@pytest.mark.parametrize("positions", ["learned", "both"])
@pytest.mark.parametrize("cycles", [(1, 3), (3, 1)])
def test_every_shape_of_a_model(
    positions: str,
    cycles: tuple[int, int],
    small_model: ModelConfig,
    script: Any,
    sudokus: tuple[Puzzles, Puzzles],
) -> None:
    changed = {"positions": positions, "H_cycles": cycles[0], "L_cycles": cycles[1], "layers": 1}
    config = ModelConfig(**{**small_model.model_dump(), **changed})
    puzzles = sudokus[1].first(2)
    model = random_model(config, "Lx_H", puzzles)
    compare(script, model, export.model_file(model, torch.float32), puzzles)


@pytest.mark.parametrize(("frozen", "begin"), [("H", 0), ("L", 0), ("H", 1), ("L", 2)])
def test_freezing_is_the_same(
    frozen: Level,
    begin: int,
    small_model: ModelConfig,
    script: Any,
    mazes: tuple[Puzzles, Puzzles],
) -> None:
    puzzles = mazes[1].first(2)
    model = random_model(small_model, "L2x_H", puzzles)
    file = export.model_file(model, torch.float32)
    compare(script, model, file, puzzles, frozen, begin)


@pytest.mark.parametrize("stored", export.FORMATS)
def test_weights_arrive_as_they_were_stored(
    stored: torch.dtype, small_model: ModelConfig, script: Any, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(2)
    model = random_model(small_model, "Lx_H", puzzles)
    with torch.no_grad():
        model.embedding[:2] *= 1e-5  # numbers that float16 holds with fewer digits
    rounded = export.in_float32(model, stored)
    compare(script, rounded, export.model_file(model, stored), puzzles)


def test_the_shortest_format_that_changes_no_board_is_taken(
    small_model: ModelConfig, sudokus: tuple[Puzzles, Puzzles]
) -> None:
    puzzles = sudokus[1].first(2)
    model = random_model(small_model, "Lx_H", puzzles)
    exact = export.in_float32(model, torch.float16)
    assert export.shortest_format(exact, puzzles) == torch.float16
    with torch.no_grad():  # beyond what float16 can hold, whatever bfloat16 makes of it
        model.q_head.bias.zero_()
        model.embedding[1] = 1e5 * model.embedding[1].sign()
        model.lm_head.weight.copy_(model.lm_head.weight.bfloat16())
    wide = export.in_float32(model, torch.bfloat16)
    assert export.shortest_format(wide, puzzles) == torch.bfloat16
    with torch.no_grad():  # two tokens that differ in the last digit only
        wide.lm_head.weight[3] = wide.lm_head.weight[2] * (1 + 2**-20)
    assert export.shortest_format(wide, sudokus[1]) == torch.float32
