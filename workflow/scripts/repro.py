"""What every job of the workflow runs: DVC brings one stage up to date, and its log is kept.

    python workflow/scripts/repro.py STAGE LOG

DVC knows by hash whether there is anything to do, and restores what it has made before. The stage's
own output and DVC's errors are shown and written to LOG; that DVC was successful is not. A job that
printed nothing was restored: LOG is then that of the run which made its outputs (Snakemake deletes
it before a job, so a second name, .kept, holds it), and a file .restored beside it marks this.

DVC writes dvc.lock in place, which takes a second or more: a job that was stopped meanwhile would
leave a file that no later job can read. Here the new file takes the place of the old at once.

The environment variable AIR_REPRO says how DVC is asked, the same for all jobs of a call (`mode`).
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REACH_SECONDS = 30
MADE = Path(".dvc/tmp/made")  # a file for each stage that a clone without a remote has computed


def mode() -> str:
    """How DVC is asked: pull, plain or force.

    With a remote (pull), finished stages are restored from it. A clone that has neither a remote
    nor anything made yet computes everything (force), every stage once, also if it takes several
    calls: numbers that came with git are to be reproduced, not believed.

    Raises:
        DvcException: the configuration of DVC is not valid.
    """
    from dvc.config import Config

    if Config(dvc_dir=".dvc").get("core", {}).get("remote"):
        return "pull"
    return without_remote()


def settle() -> None:
    """Fix the mode for all jobs of this call, unless the call that submitted this one has."""
    os.environ.setdefault("AIR_REPRO", mode())


def do_without_remote() -> None:
    """Compute everything here if the remote cannot be reached, and say so once."""
    if os.environ["AIR_REPRO"] == "pull" and (why := unreachable()):
        print(
            f"DVC's remote cannot be reached, nothing is restored from it: {why}", file=sys.stderr
        )
        os.environ["AIR_REPRO"] = without_remote()


def without_remote() -> str:
    if not Path(cache(), "runs").exists():
        shutil.rmtree(MADE, ignore_errors=True)  # of a cache that has been deleted since
        return "force"
    return "force" if MADE.exists() else "plain"


def cache() -> str:
    """DVC's cache, which need not lie in the project."""
    from dvc.config import Config

    return str(Config(dvc_dir=".dvc").get("cache", {}).get("dir") or ".dvc/cache")


def unreachable() -> str:
    """Why the default remote cannot be reached, or nothing if it can."""
    command = [sys.executable, __file__, "--reach"]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, timeout=REACH_SECONDS)
    except subprocess.TimeoutExpired:
        return f"no answer within {REACH_SECONDS} seconds"
    said = ended.stderr.strip().splitlines()
    return (said[-1] if said else f"exit code {ended.returncode}") if ended.returncode else ""


def _reach() -> None:
    from dvc.repo import Repo

    try:
        with Repo() as repo:
            remote = repo.cloud.get_remote()
            # the answer that there is nothing at this path is an answer
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                remote.fs.info(remote.path)
            if remote.fs.protocol == "local" and not os.access(_existing(remote.path), os.R_OK):
                raise PermissionError(f"{remote.path} cannot be read")
    except Exception as error:  # of any file system's library
        sys.exit(" ".join(str(error).split()) or type(error).__name__)


def _existing(path: str) -> Path:
    """``path``, or the nearest folder above it that there is."""
    return next(folder for folder in (Path(path), *Path(path).parents) if folder.exists())


@contextlib.contextmanager
def _modified_whole(path: str, fs: Any = None) -> Iterator[dict[str, Any]]:
    """DVC's ``modify_yaml``, at work on a copy that then replaces the file."""
    from dvc.utils.serialize import modify_yaml

    draft = Path(".dvc/tmp", Path(path).name)
    draft.unlink(missing_ok=True)
    if Path(path).exists():
        shutil.copy(path, draft)
    with modify_yaml(draft) as data:
        yield data
    draft.replace(path)


def _dvc(*options: str) -> int:
    """``dvc repro`` in this process, without what DVC says of its success."""
    from dvc import dvcfile
    from dvc.cli import main  # late: its log is bound to the output that there is by then

    dvcfile.modify_yaml = _modified_whole
    return int(main(["--wait-for-lock", "repro", "--single-item", *options]))


def _reproduce(stage: str) -> int:
    asked = os.environ.get("AIR_REPRO") or mode()
    # DVC's output; what the stage runs has the true one
    with Path(os.devnull).open("w") as nothing, contextlib.redirect_stdout(nothing):
        if asked == "pull":
            # DVC asked to pull takes a stage for restored even if a file is missing that is kept in
            # git and not in the remote, so it is asked twice
            return _dvc("--pull", stage) or _dvc(stage)
        made = MADE / stage
        if asked != "force" or made.exists():
            return _dvc(stage)
        code = _dvc("--force", stage)
        if code == 0:
            made.parent.mkdir(parents=True, exist_ok=True)
            made.touch()
        return code


def main(stage: str, log: Path) -> int:
    """Run the job; its exit code. Ctrl-C is left to the job, whose last words are to be kept."""
    command = [sys.executable, __file__, "--stage", stage]
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    kept, restored = log.with_suffix(".kept"), log.with_suffix(".restored")
    log.parent.mkdir(parents=True, exist_ok=True)
    assert job.stdout is not None
    with contextlib.ExitStack() as opened:
        file, silent = None, True
        while said := os.read(job.stdout.fileno(), 65536):
            silent = False
            with contextlib.suppress(OSError):  # a full disk stops no training
                if file is None:
                    file = opened.enter_context(log.open("wb", buffering=0))
                    restored.unlink(missing_ok=True)
                file.write(said)
            with contextlib.suppress(OSError):  # nor does a terminal that has gone
                os.write(sys.stdout.fileno(), said)
    code = job.wait()
    with contextlib.suppress(OSError):
        if silent and code:
            log.write_text(f"{stage}: ended with exit code {code}, and said nothing\n")
        elif silent:
            restored.touch()
            log.hardlink_to(kept)
        elif code == 0:
            kept.unlink(missing_ok=True)
            kept.hardlink_to(log)
    return code


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--reach"]:
            _reach()
        case ["--stage", stage]:
            sys.exit(_reproduce(stage))
        case [stage, log]:
            sys.exit(main(stage, Path(log)))
        case _:
            sys.exit(__doc__)
