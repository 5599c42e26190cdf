"""That a fresh clone computes what is committed, to the byte.

    python workflow/scripts/proof.py publish    compute params.yaml anew, keep what belongs in git
    python workflow/scripts/proof.py check      whether dvc.lock is true; computed if not yet proved

`publish` computes the study of the working tree in a fresh copy, brings back dvc.lock, the metrics
and the published pages, renews the tables of verdicts in README.md and docs/scales.md, and records
in .ci/proved which dvc.lock came of it: commit them together.

`check` looks at the last commit. Its dvc.lock must name the parameters and the code as they are,
which takes seconds. If that dvc.lock is not the recorded one, the study is computed whole in a
clone, after which `git status` must have nothing to say.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from dvc.utils.serialize import modify_yaml, parse_yaml

PROVED = Path(".ci/proved")
SCRATCH = Path(".proof")


def git(*arguments: str, folder: Path = Path()) -> str:
    command = ["git", *arguments]
    return subprocess.run(command, cwd=folder, stdout=subprocess.PIPE, text=True, check=True).stdout


def clone() -> Path:
    """A clone of the last commit, with nothing computed."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    git("clone", "--quiet", ".", str(SCRATCH))
    return SCRATCH


def run(*command: str, folder: Path) -> str:
    """Run a command in a folder, with its code; what it says goes to the terminal."""
    code = {"PYTHONPATH": str(folder.resolve() / "src"), "AIR_REPRO": "force"}
    env = {**os.environ, **code}
    tool, *arguments = command
    found = str(Path(sys.executable).with_name(tool))
    return subprocess.run([found, *arguments], cwd=folder, env=env, check=True, text=True,
                          stdout=subprocess.PIPE if tool == "dvc" else None).stdout  # fmt: skip


def lock_digest(folder: Path) -> str:
    return hashlib.sha256((folder / "dvc.lock").read_bytes()).hexdigest()


def publish() -> None:
    folder = clone()
    listed = git("ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0")
    for name in filter(None, listed):  # the working tree, as it is
        target = folder / name
        if not os.path.lexists(name):
            target.unlink(missing_ok=True)
        elif not Path(name).is_symlink():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(name, target)
    forget(gone(folder), folder)
    run("snakemake", "--cores", "all", folder=folder)
    run("air", "publish", folder=folder)
    params = json.loads((folder / "results/params.json").read_text(encoding="utf-8"))
    published = Path("reports/published", params["params"]["preset"])
    shutil.rmtree(published, ignore_errors=True)
    shutil.copytree(folder / published, published)
    kept = [path for path in (folder / "results").rglob("*.json") if path.name != "params.json"]
    for path in (*kept, folder / "reports/claims.json", folder / "dvc.lock"):
        target = path.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target)
    run("air", "scales", "--write", folder=Path())
    PROVED.write_text(f"{lock_digest(folder)}  dvc.lock\n", encoding="utf-8")
    shutil.rmtree(folder)
    print(f"Computed and published: {published}. Commit it with dvc.lock, results and {PROVED}.")


def gone(folder: Path) -> list[str]:
    """The stages in dvc.lock that the study no longer has: DVC itself leaves them there."""
    locked = parse_yaml((folder / "dvc.lock").read_text(encoding="utf-8"), "dvc.lock")["stages"]
    known = run("dvc", "stage", "list", "--name-only", folder=folder).split()
    return sorted(set(locked) - set(known))


def forget(stages: list[str], folder: Path) -> None:
    with modify_yaml(str(folder / "dvc.lock")) as lock:
        for name in stages:
            del lock["stages"][name]


def untrue(folder: Path) -> list[str]:
    """What dvc.lock says otherwise than the files of a clone, but for what is not made yet."""
    status = json.loads(run("dvc", "status", "--json", folder=folder))
    lines = [f"{stage}: is in dvc.lock, and not in the study" for stage in gone(folder)]
    for stage, reasons in status.items():
        for reason in reasons:
            if not isinstance(reason, dict):
                lines.append(f"{stage}: {reason}")
                continue
            for what, files in reason.items():
                lines += [
                    f"{stage}: {what}: {name} {state}"
                    for name, state in files.items()
                    # results/ is a folder of which a clone has the metrics alone
                    if state not in ("deleted", "not in cache") and name != "results"
                ]
    return lines


def check() -> None:
    folder = clone()
    if lines := untrue(folder):
        print("dvc.lock is not true; run `make publish` and commit:", *lines, sep="\n  ")
        sys.exit(1)
    print("dvc.lock names parameters and code as they are")
    record = folder / PROVED  # as it was committed
    proved = record.read_text(encoding="utf-8").split()[0] if record.exists() else ""
    if proved == lock_digest(folder):
        print("and has been proved: a clone has computed it")
    else:
        run("snakemake", "--cores", "all", folder=folder)
        if changed := git("status", "--porcelain", folder=folder):
            print(f"a clone has computed something else than is committed:\n{changed}")
            sys.exit(1)
        print("and a clone has just computed it")
    shutil.rmtree(folder)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["publish"]:
            publish()
        case ["check"]:
            check()
        case _:
            sys.exit(__doc__)
