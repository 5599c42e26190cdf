"""The smoke study on a real Slurm of one node: `make test-slurm`; pytest alone does not run this.

The Slurm is this machine's own, on loopback and in a scratch folder, and knows nothing of another
that may be configured here. Needs Debian's slurmctld, slurmd, slurm-client and munge.
"""

import getpass
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from ruamel.yaml import YAML

from air.reading import read_tensors
from tests.pipeline import call, dvc_stages, environment, scratch
from tests.test_end_to_end import SNAKEMAKE, results, run

DAEMONS = ("munged", "slurmctld", "slurmd")
ON_SLURM = (
    *("snakemake", "--profile", "workflow/profiles/slurm"),
    # this Slurm keeps no accounts, and nobody minds to be asked often
    *("--slurm-status-command", "squeue", "--seconds-between-status-checks", "2"),
    *("--slurm-init-seconds-before-status-checks", "2"),
)
CALLS: list["subprocess.Popen[bytes]"] = []  # of snakemake, in the background
STATE = ".resume/sudoku-Lx_H-seed0-*/state.safetensors"
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
# every job is remembered, and its time limit is its end
MinJobAge=86400
OverTimeLimit=0
KillWait=10
# more jobs at once than CPUs, because most of the time is spent waiting for the next look at them
SlurmdParameters=config_overrides
NodeName={host} NodeAddr=127.0.0.1 CPUs=4 RealMemory={memory}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def slurm(command: str, *options: str) -> str:
    return subprocess.run(
        [command, *options], capture_output=True, text=True, timeout=60, check=True
    ).stdout


def until(true: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    """Wait until a call returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (found := true()):
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:.0f} s", pytrace=False)
        time.sleep(0.2)
    return found


@pytest.fixture(scope="module", autouse=True)
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Slurm of one node, which every command in this process's environment finds."""
    path = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin"])
    for program in (*DAEMONS, "srun"):
        if not shutil.which(program, path=path):
            packages = "slurmctld slurmd slurm-client munge"
            pytest.fail(f"{program} is not installed: apt-get install {packages}", pytrace=False)
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "munge.key").write_bytes(os.urandom(1024))
    (folder / "munge.key").chmod(0o400)
    with socket.socket() as one, socket.socket() as two:
        one.bind(("127.0.0.1", 0))
        two.bind(("127.0.0.1", 0))
        ports = one.getsockname()[1], two.getsockname()[1]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(
            host=socket.gethostname().split(".")[0],
            ports=ports,
            user=getpass.getuser(),
            folder=folder,
            memory=psutil.virtual_memory().total * 9 // 10 // 2**20,
        )
    )
    # the plugin hides every SLURM_ variable from the srun in a job
    srun = folder / "bin/srun"
    srun.parent.mkdir()
    srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {shutil.which("srun")} "$@"\n')
    srun.chmod(0o755)
    munge = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
    munge += [f"--socket={folder}/munge.socket", "--force"]  # whoever owns the scratch folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{srun.parent}{os.pathsep}{path}")
        patch.setenv("SLURM_CONF", str(configuration))
        try:
            for daemon in DAEMONS:
                command = [daemon, *(munge if daemon == "munged" else [])]
                ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
                if ended.returncode:
                    pytest.fail(f"{daemon} did not start: {ended.stderr.strip()}", pytrace=False)
            state = ["sinfo", "--noheader", "--format=%t"]
            until(
                lambda: "idle" in subprocess.run(state, capture_output=True, text=True).stdout,
                f"Slurm's node is ready (logs: {folder}/*.log)",
            )
            yield
        finally:
            for main in CALLS:
                main.kill()
            with suppress(subprocess.TimeoutExpired):
                subprocess.run(["scancel", "--user", getpass.getuser()], timeout=30)
            time.sleep(5)
            for file in sorted(folder.glob("*.pid"), reverse=True):  # munged last
                with suppress(psutil.Error):
                    process = psutil.Process(int(file.read_text()))
                    if process.name() in DAEMONS:
                        process.terminate()
                        process.wait(timeout=60)


def study(folder: Path) -> Path:
    """A scratch clone of the smoke study whose Sudoku models train longer and save every second."""
    folder = scratch(folder, "smoke")
    params = folder / "params.yaml"
    text = params.read_text().replace("steps: 250", "steps: 900", 1)
    params.write_text(text.replace("save_every_seconds: 30.0", "save_every_seconds: 1.0"))
    return folder


def start(folder: Path, *options: str) -> "subprocess.Popen[bytes]":
    with (folder / "said.txt").open("w") as said:
        main = subprocess.Popen(
            [*ON_SLURM, *options],
            cwd=folder,
            env=environment(folder),
            stdout=said,
            stderr=said,
            start_new_session=True,
            # what was started in the background of a script has Ctrl-C ignored, and so have its own
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
    CALLS.append(main)
    return main


def training(folder: Path) -> psutil.Process:
    """The process that trains Lx_H on Sudoku, as soon as it has saved a state."""
    until(lambda: list(folder.glob(STATE)), "a training's state", 600)
    command = ["train", "sudoku", "Lx_H", "--seed", "0"]
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # one that has just ended
            if process.cmdline()[-5:] == command and process.cwd() == str(folder):
                return process
    pytest.fail("the training has ended too soon")


def jobs(folder: Path) -> list[tuple[str, str, str]]:
    """(number, rule and wildcards, state) of every job that this folder has ever had in Slurm."""
    listed = slurm("squeue", "--states=all", "--noheader", "--format=%Z|%i|%k|%T").splitlines()
    rows = [line.split("|") for line in listed]
    return [(job, name, state) for place, job, name, state in rows if place == str(folder)]


def test_the_study_survives_a_time_limit(tmp_path: Path) -> None:
    local, folder = study(tmp_path / "local"), study(tmp_path / "slurm")
    reference = call(local, *SNAKEMAKE, timeout=3600)
    assert reference.returncode == 0, reference.stderr[-3000:]

    # one training is held still in the middle, and then its minute is over
    begun, limited = time.monotonic(), "rule_train_wildcards_sudoku_Lx_H_0"
    main = start(folder)
    training(folder).send_signal(signal.SIGSTOP)
    number = next(job for job, name, _ in jobs(folder) if name == limited)
    slurm("scontrol", "update", f"JobId={number}", "TimeLimit=1")
    saved = read_tensors(next(folder.glob(STATE)), "training state")[1]["step"]
    status = main.wait(timeout=3600)
    said = (folder / "said.txt").read_text()
    assert status == 0, said[-3000:]

    # every stage ran as a job of Slurm; the one that met its limit ran twice, and went on
    stages = dvc_stages(folder)
    names = [name for _, name, _ in jobs(folder)]
    unfinished = {job: state for job, _, state in jobs(folder) if state != "COMPLETED"}
    log = (folder / "logs/train/sudoku/Lx_H/seed0.log").read_text()
    print(
        f"\n{len(names)} jobs for {len(stages)} stages and the page on cost "
        f"in {time.monotonic() - begun:.0f} s",
        log,
        sep="\n",
    )
    assert len(set(names)) == len(stages) + 1  # and the page on cost, which is not DVC's
    assert names.count(limited) == 2
    assert len(names) == len(stages) + 2
    assert unfinished == {number: "TIMEOUT"}
    went_on = re.search(r"going on from step (\d+),", log)
    assert went_on
    assert int(went_on[1]) >= saved > 0

    # and nothing shows in what was made
    ours, theirs = results(folder), results(local)
    assert set(ours) == set(theirs)
    assert [name for name in ours if ours[name] != theirs[name]] == []
    assert set(YAML(typ="safe").load(folder / "dvc.lock")["stages"]) == set(stages)
    assert "up to date" in run(folder, "dvc", "status")
    assert "Nothing to be done" in run(folder, *ON_SLURM)


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGINT], ids=lambda blow: blow.name)
def test_a_stopped_call_leaves_nothing_in_the_queue(tmp_path: Path, blow: signal.Signals) -> None:
    folder = study(tmp_path)
    model = "results/sudoku/Lx_H/seed0/model.safetensors"
    first = start(folder, model)
    training(folder)
    os.kill(first.pid, blow)
    first.wait(timeout=60)
    second = run(folder, *ON_SLURM, model)
    if blow == signal.SIGKILL:
        assert "Cancelling what an earlier call left in Slurm" in second
    states = sorted(state for _, name, state in jobs(folder) if "train" in name)
    assert states == ["CANCELLED", "COMPLETED"]
    assert "going on from step" in (folder / "logs/train/sudoku/Lx_H/seed0.log").read_text()
