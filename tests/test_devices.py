"""Jobs side by side each have a device of their own; a dead job's is free again."""

import subprocess
import sys
import time
from pathlib import Path

from air.devices import take

JOB = """
import logging, sys, time
from pathlib import Path
from air.devices import take
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
print(*take(["GPU-a", "GPU-b"], int(sys.argv[2]), Path(sys.argv[1])), flush=True)
time.sleep(60)
"""


def job(folder: Path, count: int = 1) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", JOB, str(folder), str(count)], stdout=subprocess.PIPE, text=True
    )


def said(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def test_each_job_has_a_device_of_its_own(tmp_path: Path) -> None:
    """Two simulated devices, three jobs: the third waits until one is killed, and takes its."""
    first, second = job(tmp_path), job(tmp_path)
    third = None
    try:
        places = {first: said(first), second: said(second)}
        assert set(places.values()) == {"0", "1"}
        third = job(tmp_path)
        assert said(third).startswith("waiting for 1 of 2 GPU(s)")
        second.kill()
        assert said(third) == places[second]
        assert first.poll() is None
    finally:
        for process in (first, second, third):
            if process:
                process.kill()
                process.wait()


def test_half_of_what_is_needed_is_not_held(tmp_path: Path) -> None:
    """A job that needs both devices leaves the free one to others while it waits."""
    one = job(tmp_path)
    assert said(one) == "0"
    both = job(tmp_path, count=2)
    try:
        assert said(both).startswith("waiting for 2 of 2")
        time.sleep(0.1)
        other = job(tmp_path)
        word = said(other)
        if word.startswith("waiting"):  # it asked while the other looked whether both are free
            word = said(other)
        assert word == "1"
        assert one.poll() is None
        one.kill()
        other.kill()
        assert said(both) == "0 1"
    finally:
        for process in (one, both, other):
            process.kill()
            process.wait()


def test_a_device_goes_by_its_name(tmp_path: Path) -> None:
    """Where it stands in the list may change; and what a job has it keeps."""
    assert take(["GPU-x", "GPU-y", "GPU-z"], 2, tmp_path) == [0, 1]
    assert take(["GPU-z", "GPU-y"], 1, tmp_path) == [0]
    assert take(["GPU-y"], 1, tmp_path) == [0]
    other = subprocess.run(
        [sys.executable, "-c", JOB.replace("sleep(60)", "sleep(0)"), str(tmp_path), "2"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert other.stdout.strip() == "0 1"  # those of other names are free
