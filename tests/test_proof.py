"""`make check-proof`: the committed dvc.lock is true, and what is not is named."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.pipeline import call

PROOF = str(ROOT / "workflow/scripts/proof.py")
STAGES = """
stages:
  count:
    cmd: wc -c < words.txt > count.json
    deps: [words.txt]
    outs: [{count.json: {cache: false}}]
"""


def commit(folder: Path) -> None:
    git = ("git", "-c", "user.name=test", "-c", "user.email=test@localhost")
    for command in (("add", "-A"), ("commit", "-q", "-m", "study")):
        subprocess.run([*git, *command], cwd=folder, check=True)


def prove(folder: Path) -> None:
    digest = hashlib.sha256((folder / "dvc.lock").read_bytes()).hexdigest()
    (folder / ".ci").mkdir(exist_ok=True)
    (folder / ".ci/proved").write_text(f"{digest}  dvc.lock\n", encoding="utf-8")


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """A committed study of one stage, with a lock that is recorded as proved."""
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    analytics = false\n", encoding="utf-8")
    (tmp_path / ".gitignore").write_text("/.dvc/tmp\n/.dvc/cache\n/.proof\n", encoding="utf-8")
    (tmp_path / "words.txt").write_text("one two", encoding="utf-8")
    (tmp_path / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    assert call(tmp_path, "dvc", "repro").returncode == 0
    prove(tmp_path)
    commit(tmp_path)
    return tmp_path


def check(folder: Path) -> tuple[int, str]:
    ended = call(folder, sys.executable, PROOF, "check")
    return ended.returncode, ended.stdout + ended.stderr


def test_a_true_lock_that_was_proved_passes(study: Path) -> None:
    code, said = check(study)
    assert code == 0, said
    assert "has been proved" in said


def test_a_file_that_has_changed_since_is_named(study: Path) -> None:
    (study / "words.txt").write_text("one two three", encoding="utf-8")
    commit(study)
    code, said = check(study)
    assert code == 1
    assert "count: changed deps: words.txt modified" in said


def test_a_stage_that_is_gone_is_named(study: Path) -> None:
    more = "  other: {cmd: echo > other.json, outs: [{other.json: {cache: false}}]}\n"
    (study / "dvc.yaml").write_text(STAGES + more, encoding="utf-8")
    assert call(study, "dvc", "repro").returncode == 0
    (study / "dvc.yaml").write_text(STAGES, encoding="utf-8")
    prove(study)
    commit(study)
    code, said = check(study)
    assert code == 1
    assert "other: is in dvc.lock, and not in the study" in said


def test_what_is_recorded_must_be_committed(study: Path) -> None:
    """What only the working tree says proves nothing."""
    (study / "words.txt").write_text("one two three", encoding="utf-8")
    assert call(study, "dvc", "repro").returncode == 0
    commit(study)
    prove(study)
    code, said = check(study)
    assert code != 0  # it sets out to compute the study, which has no Snakefile here
    assert "has been proved" not in said
