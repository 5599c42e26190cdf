"""Whatever machine, folder, user and configuration: the study runs, and says what is wrong."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest

from air.params import load_params
from tests.conftest import ROOT
from tests.pipeline import environment, scratch
from tests.study import make_up

CHECK = ("snakemake", "--cores", "1", "results/params.json")
AIR = (sys.executable, "-c", "from air.cli import main; main()")


def call(
    folder: Path,
    *command: str,
    settings: Mapping[str, str] | None = None,
    without: Iterable[str] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a command in ``folder`` with more, or less, in its environment."""
    given = {**environment(folder), **(settings or {})}
    given = {name: value for name, value in given.items() if name not in without}
    return subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch copy on the smoke preset in which the first stage has run."""
    folder = scratch(tmp_path_factory.mktemp("project"), "smoke")
    ended = call(folder, *CHECK)
    assert ended.returncode == 0, ended.stderr
    return folder


@pytest.fixture
def copy(project: Path, tmp_path: Path) -> Path:
    """A copy of ``project`` to be changed; its first stage is due again."""
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True)
    with (folder / "params.yaml").open("a") as file:
        file.write("# changed\n")
    return folder


def test_an_error_of_dvcs_reaches_the_terminal_and_the_log(copy: Path) -> None:
    with (copy / "dvc.lock").open("a") as file:
        file.write("<<<<<<< HEAD\n")
    ended = call(copy, *CHECK)
    assert ended.returncode != 0
    assert "'./dvc.lock' is invalid" in ended.stdout + ended.stderr
    assert "'./dvc.lock' is invalid" in (copy / "logs/check.log").read_text()


def test_an_error_of_ours_reaches_them_too(copy: Path) -> None:
    (copy / "src/air/cli.py").write_text('print("cannot go on"); raise SystemExit(3)\n')
    ended = call(copy, *CHECK)
    assert ended.returncode != 0
    for said in ((copy / "logs/check.log").read_text(), ended.stdout + ended.stderr):
        assert "cannot go on" in said
        assert "failed to run: air check, exited with 3" in said


def test_success_is_quiet_and_a_restored_job_keeps_its_log(copy: Path) -> None:
    assert call(copy, *CHECK).returncode == 0
    log = copy / "logs/check.log"
    assert log.read_text() == "params.yaml is valid: preset smoke\n"
    assert not log.with_suffix(".restored").exists()
    assert call(copy, *CHECK, "--force").returncode == 0
    assert log.read_text() == "params.yaml is valid: preset smoke\n"
    assert log.with_suffix(".restored").exists()
    (copy / "params.yaml").write_text((copy / "params.yaml").read_text() + "# and again\n")
    assert call(copy, *CHECK).returncode == 0
    assert not log.with_suffix(".restored").exists()


@pytest.mark.parametrize("where", ["project", "global"])
def test_a_remote_that_cannot_be_reached_is_done_without(
    copy: Path, where: str, tmp_path: Path
) -> None:
    settings = {
        "DVC_GLOBAL_CONFIG_DIR": str(tmp_path / "global"),
        "HOME": str(tmp_path),
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    option = ("--global",) if where == "global" else ()
    address = "s3://nobody/nothing"  # and no credentials
    added = call(copy, "dvc", "remote", "add", *option, "-d", "storage", address, settings=settings)
    assert added.returncode == 0, added.stderr
    hidden = {name for name in os.environ if name.startswith("AWS_")}
    ended = call(copy, *CHECK, settings=settings, without=hidden)
    assert ended.returncode == 0, ended.stderr
    assert ended.stderr.count("DVC's remote cannot be reached") == 1
    assert "nothing is restored from it: Unable to locate credentials" in ended.stderr


def test_a_bad_key_in_dvcs_configuration_is_one_sentence(copy: Path) -> None:
    (copy / ".dvc/config.local").write_text("[core]\n    remoot = x\n")
    ended = call(copy, *CHECK)
    assert ended.returncode == 2
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("DVC's configuration (.dvc/config, .dvc/config.local):")
    assert "core.remoot" in last.replace("']['", ".")
    assert "Traceback" not in ended.stderr


def test_a_copy_without_git_works(project: Path, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(project, folder, symlinks=True, ignore=shutil.ignore_patterns(".git"))
    with (folder / "params.yaml").open("a") as file:
        file.write("# changed\n")
    ended = call(folder, *CHECK)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (folder / "logs/check.log").read_text() == "params.yaml is valid: preset smoke\n"


@pytest.mark.parametrize("name", ["it's here", 'so "called"', "$HOME/`id`;x", "ä ü 猫", "-n &"])
def test_any_folder_will_do(copy: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "odd" / name
    folder.parent.mkdir(parents=True)
    copy.rename(folder)
    ended = call(folder, *CHECK)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_a_folder_with_braces_is_refused_in_a_sentence(copy: Path) -> None:
    folder = copy.rename(copy.with_name("{x}"))
    ended = call(folder, *CHECK)
    assert ended.returncode == 2
    assert "Snakemake takes braces in a path for wildcards" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.fixture(scope="module")
def made_up(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = scratch(tmp_path_factory.mktemp("made-up"), "smoke")
    make_up(folder, load_params(folder / "params.yaml"))
    assert call(folder, *AIR, "claims").returncode == 0
    assert call(folder, *AIR, "report", "freeze").returncode == 0
    return folder


def page(folder: Path) -> dict[str, bytes]:
    html = folder / "reports/html"
    return {
        file.relative_to(html).as_posix(): file.read_bytes()
        for file in html.rglob("*")
        if file.is_file()
    }


def test_a_page_depends_on_nothing_of_the_users(made_up: Path, tmp_path: Path) -> None:
    """Their kernels, templates, startup files, matplotlibrc, locale, folders: the same bytes."""
    wanted = page(made_up)
    kernel = tmp_path / "jupyter/kernels/python3/kernel.json"
    kernel.parent.mkdir(parents=True)
    command = ["/nowhere/python", "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    kernel.write_text(json.dumps({"argv": command, "display_name": "x", "language": "python"}))
    template = tmp_path / "jupyter/nbconvert/templates/basic"
    template.mkdir(parents=True)
    (template / "conf.json").write_text('{"base_template": "base"}')
    (template / "index.html.j2").write_text("theirs")
    startup = tmp_path / "ipython/profile_default/startup/a.py"
    startup.parent.mkdir(parents=True)
    startup.write_text("raise SystemExit('theirs')")
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.size: 30\nsvg.fonttype: none\n")
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    ended = call(
        made_up,
        *AIR,
        "report",
        "freeze",
        without=["HOME"],
        settings={
            "JUPYTER_PATH": str(tmp_path / "jupyter"),
            "IPYTHONDIR": str(tmp_path / "ipython"),
            "MATPLOTLIBRC": str(tmp_path / "matplotlibrc"),
            "TMPDIR": str(deep),
            "LC_ALL": "de_DE.UTF-8",
            "TZ": "Asia/Tokyo",
            "PYTHONHASHSEED": "7",
            "SOURCE_DATE_EPOCH": "1",
        },
    )
    assert ended.returncode == 0, ended.stderr
    theirs = page(made_up)
    assert [name for name in wanted if theirs.get(name) != wanted[name]] == []
    assert set(theirs) == set(wanted)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may become nobody")
def test_a_user_without_an_account(made_up: Path, tmp_path: Path) -> None:
    """As in containers: a number, no name, no home."""
    folder = tmp_path / "copy"
    shutil.copytree(made_up, folder, symlinks=True)
    nobody = 54_321
    become = ("setpriv", f"--reuid={nobody}", f"--regid={nobody}", "--clear-groups")
    may = subprocess.run([*become, "test", "-x", os.path.realpath(sys.executable)])
    if may.returncode:
        pytest.skip("this interpreter is in somebody's home")
    for path in (folder, *folder.rglob("*")):
        os.chown(path, nobody, nobody, follow_symlinks=False)
    for parent in (tmp_path, *tmp_path.parents):
        if not parent.stat().st_mode & 0o001:
            parent.chmod(parent.stat().st_mode | 0o011)
    for command in ((*AIR, "report", "freeze"), (*AIR, "data", "maze")):
        ended = subprocess.run(
            [*become, *command],
            cwd=folder,
            env={name: v for name, v in environment(folder).items() if name != "HOME"},
            capture_output=True,
            text=True,
        )
        assert ended.returncode == 0, ended.stderr
    assert page(folder) == page(made_up)


def test_line_ends_are_those_of_the_repository(tmp_path: Path) -> None:
    """With git told to translate them (as on Windows), scripts still run."""
    clone = tmp_path / "clone"
    command = ["git", "-c", "core.autocrlf=true", "clone", "-q", str(ROOT), str(clone)]
    subprocess.run(command, check=True)
    files = subprocess.run(["git", "ls-files", "-z"], cwd=clone, capture_output=True, text=True)
    for name in filter(None, files.stdout.split("\0")):
        path = clone / name
        if path.suffix in (".py", ".smk", ".yaml", ".ipynb", "", ".md") and path.is_file():
            content = path.read_bytes()
            assert b"\r\n" not in content or b"\0" in content, name
