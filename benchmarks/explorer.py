"""A rollout in the browser, as the explorer computes it, beside the same rollout in Python.

    python benchmarks/explorer.py --size mini
    python benchmarks/explorer.py --size medium
    python benchmarks/explorer.py --size maze --recorded 2

Both compute in float64 on one core, and decode both states after every sub-step. With --recorded N
the browser is left out: N puzzles are recorded, as `air explore` does with models too large for a
page, and how many of them `explore.megabytes` holds is printed.
"""

import base64
import shutil
import time
from pathlib import Path

import numpy as np
import torch
from playwright.sync_api import sync_playwright
from sizes import TASKS, arguments, boards, build
from torch import Tensor

from air.explorer import export
from air.explorer.config import ExploreConfig
from air.explorer.recording import bytes_per_puzzle, recorded
from air.model.network import AIR
from air.probes.decoding import CPU
from air.tasks.task import Puzzles

# Seconds of each of `rounds` rollouts, with every board, as worker.js computes them.
ROLLOUTS = """
async ([source, file, inputs, rounds]) => {
  const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
  const { AIR, Rollout, read_tensors } = await import(url);
  const model = new AIR(read_tensors(Uint8Array.from(atob(file), (c) => c.charCodeAt(0)).buffer));
  const taken = [];
  for (let round = 0; round < rounds; round++) {
    const began = performance.now(), rollout = new Rollout(model, inputs);
    for (let t = 0; rollout.step(); t++) ["L", "H"].forEach((level) => rollout.shown(level, t));
    taken.push((performance.now() - began) / 1000);
  }
  return taken;
}
"""


def in_browser(model: AIR, inputs: Tensor, rounds: int) -> float:
    """Median seconds of a rollout in Chromium."""
    source = Path(export.__file__).with_name("model.js").read_text(encoding="utf-8")
    file = base64.b64encode(export.model_file(model, torch.float32)).decode()
    found = shutil.which("chromium") or shutil.which("chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        taken = browser.new_page().evaluate(ROLLOUTS, [source, file, inputs[0].tolist(), rounds])
        browser.close()
    return float(np.median(taken))


def main() -> None:
    parser = arguments(__doc__, "mini", "float32")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recorded", type=int, default=0, help="puzzles to record instead")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    device = torch.device(given.device)
    model = export.in_float64(build(given.size, "float32", device))
    tokens, labels = boards(given.size, max(1, given.recorded), CPU)
    questions, answers = (tokens.numpy().astype(np.uint8), labels.numpy().astype(np.uint8))
    puzzles = Puzzles(TASKS[given.size], questions, answers, 0)
    steps = model.config.max_segments * model.config.updates_per_segment
    print(
        f"{given.size} size: {model.parameter_count:,} parameters, {model.cells} cells, "
        f"{steps} sub-steps, {given.threads} thread"
    )
    if given.recorded:
        began = time.perf_counter()
        content = recorded(model, puzzles, given.size).content
        taken = (time.perf_counter() - began) / given.recorded
        each = len(content) / given.recorded * 4 / 3
        fit = int(ExploreConfig().part(1) * 3 / 4 / bytes_per_puzzle(model))
        print(
            f"recorded: {taken:.1f} s and {each / 1e6:.2f} MB of page per puzzle; "
            f"{ExploreConfig().megabytes:g} MB hold {fit} puzzles"
        )
        return
    python = []
    for _ in range(given.rounds):
        began = time.perf_counter()
        export.decoded(model, puzzles)
        python.append(time.perf_counter() - began)
    browser = in_browser(model, tokens, given.rounds)
    mean = float(np.median(python))
    print(f"Chromium {browser:.2f} s, Python {mean:.2f} s a rollout: {browser / mean:.1f}x")


if __name__ == "__main__":
    main()
