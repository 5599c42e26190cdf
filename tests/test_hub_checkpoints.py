"""Checkpoints from the hub: `air import-checkpoint hub:...`, against a server on this machine."""

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

import air
from air.files import UserError
from air.foreign.sources import from_hub
from tests.golden_vectors import FOLDER
from tests.test_foreign_checkpoints import Payload
from tests.test_imports import LATER, NOWHERE, REVISION, Hub, run, serving

PEER = FOLDER / "peers/trm_att_sudoku"
STEP = (PEER / "step_65100").read_bytes()
CONFIG = (PEER / "all_config.yaml").read_bytes()
ASK = """
import sys, time
from air.files import UserError
from air.foreign.sources import from_hub
time.sleep = lambda seconds: None  # what is tried again is tried at once
for address in sys.argv[1:]:
    try:
        found = from_hub(address)
        source, there = found.hub, all(path.is_file() for path in found.steps.values())
        print(source["revision"], source["commit"], source["file"], there, *found.steps)
    except UserError as error:
        print("refused:", error)
"""


class Models(Hub):
    """What the hub knows of the models made/trm and made/several, by commit and name of file."""

    def __init__(self) -> None:
        super().__init__()
        self.refs = {"main": REVISION, "v1.0": LATER}
        latest = {
            "all_config.yaml": CONFIG,
            "step_900": STEP,
            "step_65100": STEP,
            "README.md": b"#",
        }
        folder = {"run/all_config.yaml": CONFIG, "run/step_65100": STEP, "code.py": b"raise"}
        other = {"all_config.yaml": CONFIG, "checkpoint": STEP}
        self.repos: dict[str, dict[str, dict[str, bytes]]] = {
            "made/trm": {REVISION: latest, LATER: folder},
            "made/several": {
                REVISION: folder | other,
                LATER: {"step_1": STEP, "config.json": b"{}"},
            },
        }

    def answer(self, path: str, begin: int) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a list of files, or for a file from a byte on."""
        listing = re.fullmatch(r"/api/models/(made/\w+)/revision/([^/]+)", path)
        found = listing or re.fullmatch(r"/(made/\w+)/resolve/([^/]+)/(.+)", path)
        if not found or found[1] not in self.repos:
            return 404, {"X-Error-Code": "RepoNotFound"}, b""
        commit = self.refs.get(unquote(found[2]), found[2])
        files = self.repos[found[1]].get(commit)
        if files is None:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b""
        headers = {"X-Repo-Commit": commit}
        if listing:
            content_of = {
                "id": found[1],
                "sha": commit,
                "siblings": [{"rfilename": n} for n in files],
            }
            return 200, headers, json.dumps(content_of).encode()
        content = files.get(unquote(found[3]))
        if content is None:
            return 404, headers | {"X-Error-Code": "EntryNotFound"}, b""
        headers |= {"ETag": f'"{hashlib.sha1(content).hexdigest()}"'}
        if begin:
            headers["Content-Range"] = f"bytes {begin}-{len(content) - 1}/{len(content)}"
        return 206 if begin else 200, headers, content[begin:]


@pytest.fixture
def models() -> Iterator[Models]:
    pytest.importorskip("huggingface_hub")
    state = Models()
    with serving(state):
        yield state


def asked(address: str, home: Path, *addresses: str, offline: bool = False) -> list[str]:
    """A line for each address: what was found, or why not."""
    ended = run(address, home, "-c", ASK, *addresses, offline=offline)
    assert ended.returncode == 0, ended.stderr
    return ended.stdout.splitlines()


def test_a_checkpoint_of_the_hub_becomes_our_model(models: Models, tmp_path: Path) -> None:
    command = ("-m", "air.cli", "import-checkpoint", "hub:made/trm")
    ended = run(models.address, tmp_path / "home", *command, folder=tmp_path)
    assert ended.returncode == 0, ended.stderr
    model = air.load(tmp_path / "model.safetensors")
    assert (model.variant.name, model.config.slots) == ("Lx_H", 16)
    assert model.origin["imported"] == {
        "arch": "recursive_reasoning.trm@TinyRecursiveReasoningModel_ACTV1",
        "file": "step_65100",
        "sha256": hashlib.sha256(STEP).hexdigest(),
        "hub": {
            "repo": "made/trm", "revision": "main", "commit": REVISION, "file": "step_65100"
        },
    }  # fmt: skip


def test_revisions_are_resolved_and_files_found(models: Models, tmp_path: Path) -> None:
    addresses = {
        "hub:made/trm@v1.0": f"v1.0 {LATER} run/step_65100 True 65100",
        "hub:made/trm@main:step_900": f"main {REVISION} step_900 True 900",
        f"hub:made/trm@{REVISION}": f"{REVISION} {REVISION} step_65100 True 65100",
        "hub:made/several:checkpoint": f"main {REVISION} checkpoint True 0",
        f"hub:made/several@{REVISION}:run/step_65100": f"{REVISION} {REVISION} "
        "run/step_65100 True 65100",
    }
    home = tmp_path / "home"
    assert asked(models.address, home, *addresses) == list(addresses.values())
    pinned = f"hub:made/trm@{REVISION}:step_65100"  # what was downloaded is there without a network
    assert asked(NOWHERE, home, pinned) == [f"{REVISION} {REVISION} step_65100 True 65100"]


def test_what_the_hub_does_not_have_is_one_sentence(models: Models, tmp_path: Path) -> None:
    addresses = {
        "hub:made/other": "made/other: cannot get the list of files at revision main (there is no "
        "such model",
        "hub:made/trm@absent": "(it has no such branch, tag or commit); give the step_N file",
        "hub:made/trm@main:step_1": "cannot get step_1 at revision main (it has no such file)",
        "hub:made/several@v1.0:step_1": "cannot get all_config.yaml at revision 89abcdef89ab (it",
        "hub:made/several": "made/several: holds checkpoints in several folders (., run); choose",
        "hub:made/several@v1.0": "contains no step_N checkpoint with an all_config.yaml beside it, "
        "the format that HRM's and TRM's training code writes; it contains config.json, step_1",
    }
    for line, said in zip(
        asked(models.address, tmp_path / "home", *addresses), addresses.values(), strict=True
    ):
        assert line.startswith("refused: made/")
        assert said in line


@pytest.mark.parametrize("offline", [False, True])
def test_without_a_network_one_sentence_says_so(offline: bool, tmp_path: Path) -> None:
    pytest.importorskip("huggingface_hub")
    addresses = ("hub:made/trm", "hub:made/trm@v1.0:run/step_1", f"hub:made/trm@{REVISION}:step_1")
    lines = asked(NOWHERE, tmp_path / "home", *addresses, offline=offline)
    assert len(lines) == 3
    for line in lines:
        assert re.match(
            r"refused: made/trm: cannot get .* \(no network, or the hub does not ", line
        )
        assert "give the step_N file of a checkpoint you have" in line


def test_a_download_cut_short_is_refused_and_taken_up_again(models: Models, tmp_path: Path) -> None:
    home, models.cut = tmp_path / "home", 2000
    address = f"hub:made/trm@{REVISION}:step_900"
    said = asked(models.address, home, address)
    assert len(said) == 1
    assert said[0].startswith("refused: made/trm: cannot get step_900 at revision 0123456789ab (")
    assert not list(home.rglob("step_900"))
    models.cut = 0
    assert asked(models.address, home, address) == [f"{REVISION} {REVISION} step_900 True 900"]


def test_code_from_the_hub_is_refused_unopened(models: Models, tmp_path: Path) -> None:
    witness, step = tmp_path / "witness", tmp_path / "step"
    torch.save({"model.inner.lm_head.weight": Payload(f"touch {witness}")}, step)
    models.repos["made/trm"][REVISION]["step_65100"] = step.read_bytes()
    command = ("-m", "air.cli", "import-checkpoint", "hub:made/trm")
    ended = run(models.address, tmp_path / "home", *command, folder=tmp_path)
    assert ended.returncode == 2
    assert "holds more than tensors (a pickle may run code when it is opened)" in ended.stderr
    assert not witness.exists()
    assert not (tmp_path / "model.safetensors").exists()


@pytest.mark.parametrize(
    "address",
    ["hub:", "hub:name", "hub:a/b@", "hub:a/b@-x", "hub:a/b:", "hub:a/b:../step_1",
     "hub:a/b:/step_1", "hub:a/b:c:d", "hub:a/b:c/../../step_1", "hub:a/b@" + "x" * 201,
     "hub:a/b\n"],
)  # fmt: skip
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UserError, match="is not a valid hub address; expected hub:OWNER/NAME"):
        from_hub(address)
