"""What the two engines cost by themselves: a study of which nothing is made, and one all made.

python benchmarks/engines.py
python benchmarks/engines.py --preset small --rounds 5

Runs in a clone of the last commit in which every output is a small file that DVC is told to believe
(`dvc commit --force`): nothing is trained, and what is timed is the engines. Median of the rounds.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

from dvc.repo import Repo

ROOT = Path(__file__).parents[1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch, "study")
        subprocess.run(["git", "clone", "-q", str(ROOT), str(folder)], check=True)
        shutil.copy(folder / f"presets/{given.preset}.yaml", folder / "params.yaml")
        shutil.rmtree(folder / "results", ignore_errors=True)
        (folder / "dvc.lock").unlink()
        with Repo(str(folder)) as repo:
            outs = {
                stage.name: [Path(out.fs_path) for out in stage.outs] for stage in repo.index.stages
            }
        print(f"{given.preset}: {len(outs)} stages, {sum(map(len, outs.values()))} outputs")
        told = Timer(folder, given.rounds)
        told("air --help")
        told("nothing made: snakemake -n", "snakemake", "-n", "--quiet", "all")
        told("nothing made: dvc status", "dvc", "status", "--quiet", fails=True)
        fill(folder, outs)
        lock = (folder / "dvc.lock").stat().st_size
        print(f"all of it made: dvc.lock has {lock / 2**10:,.0f} KiB")
        told("all made: snakemake -n", "snakemake", "-n", "--quiet", "all")
        told("all made: snakemake", "snakemake", "--cores", "2", "--quiet", "all")
        told("all made: dvc status", "dvc", "status", "--quiet")
        told("all made: dvc repro", "dvc", "repro", "--quiet")
        one = next(name for name in outs if name.startswith("evaluate_"))
        told("one job, nothing to do", "python", "workflow/scripts/repro.py", one, "logs/one.log")
        told("one stage executed (air check)", "dvc", "repro", "-q", "-f", "--single-item", "check")


class Timer:
    """Runs a command some times in the study and prints the median of its seconds."""

    def __init__(self, folder: Path, rounds: int) -> None:
        self.folder, self.rounds = folder, rounds
        tools = str(Path(sys.executable).parent)
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join([tools, os.environ["PATH"]]),
            "PYTHONPATH": str(folder / "src"),
        }

    def run(self, *command: str, fails: bool = False) -> float:
        began = time.perf_counter()
        ended = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        if ended.returncode and not fails:
            sys.exit(f"{' '.join(command)} failed:\n{ended.stdout}{ended.stderr}")
        return time.perf_counter() - began

    def __call__(self, what: str, *command: str, fails: bool = False) -> None:
        command = command or tuple(what.split())
        self.run(*command, fails=fails)  # once, for the caches of a new clone
        seconds = [self.run(*command, fails=fails) for _ in range(self.rounds)]
        print(f"{what:<35}{median(seconds):6.2f} s", flush=True)


def fill(folder: Path, outs: dict[str, list[Path]]) -> None:
    """Write every output and have both engines take it for made."""
    for stage, made in outs.items():
        for path in made:
            file = path / "figure.svg" if not path.suffix else path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("{}" if path.suffix == ".json" else f"{stage} {path.name}\n")
    # Snakemake's own page, which DVC does not know
    cost = folder / "reports/html/cost.html"
    cost.write_text("the page on cost\n")
    (cost.parent / "files/cost").mkdir(parents=True, exist_ok=True)
    run = Timer(folder, 1).run
    run("air", "check")
    run("dvc", "commit", "--force", "--quiet")
    run("snakemake", "--cores", "1", "--touch", "--quiet", "all")


if __name__ == "__main__":
    main()
