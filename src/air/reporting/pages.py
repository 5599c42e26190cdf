"""Notebooks to pages: papermill runs them, nbconvert renders what they show, without code."""

import base64
import hashlib
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path

import nbformat
import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from markupsafe import Markup, escape
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from papermill.exceptions import PapermillExecutionError

import air
from air import paths
from air.files import UserError, reading, there
from air.reporting.display import KINDS, LINKS, filled
from air.reporting.study import RESTORE, Study
from air.writing import write_bytes, write_text

# The pages in the order of the menu. The page on cost is not among them: it shows what the jobs of
# Snakemake took, which is never the same twice, and DVC does not make it.
PAGES = {
    "index": "Claims",
    "data": "Puzzles",
    "accuracy": "Accuracy",
    "training": "Training",
    "rollouts": "Rollouts",
    "freeze": "Freezing",
    "attention": "Attention",
    "emergence": "Emergence",
}
# What nbformat raises at JSON that is no notebook.
ODD = (nbformat.ValidationError, ValueError, TypeError, AttributeError, LookupError, RecursionError)
HERE = Path(__file__).parent
SOCKET_PATH = 80  # characters: the system allows about 100 for the path of a socket, with its name


def kernel_in(folder: Path) -> type[AsyncKernelManager]:
    """Kernels of this very interpreter, spoken to through sockets in ``folder``.

    Whatever kernel the user has installed under the usual name, another Python or another copy of
    the code, is not asked. Left to itself, every kernel of the current folder would choose the same
    sockets, so that notebooks could not run side by side.
    """
    command = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    ours = KernelSpec(argv=command, display_name="Python 3", language="python")
    members = {"transport": "ipc", "ip": str(folder / "kernel"), "kernel_spec": ours}
    return type("Kernel", (AsyncKernelManager,), members)


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for sockets and the executed notebook, with a path short enough for a socket."""
    for parent in (Path(tempfile.gettempdir()), Path("/tmp"), Path(".tmp")):
        with suppress(OSError):
            Path(".tmp").mkdir(exist_ok=True) if parent == Path(".tmp") else None
            made = Path(tempfile.mkdtemp(prefix="air-", dir=parent))
            if len(str(made)) <= SOCKET_PATH:
                break
            made.rmdir()
    else:
        raise UserError("no folder can be used for temporary files; set TMPDIR to one that can")
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def nothing_of_the_users(folder: Path) -> Iterator[None]:
    """Hide the user's configuration of Jupyter and IPython: a page depends on the study alone.

    (Matplotlib's is hidden where figures are drawn, :func:`air.reporting.display.style`.)
    """
    code = str(Path(air.__file__).parents[1])  # cells run the code that runs here
    ours = {
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter"),
        "JUPYTER_DATA_DIR": str(folder / "jupyter"),
        "JUPYTER_RUNTIME_DIR": str(folder / "jupyter"),
        "JUPYTER_NO_CONFIG": "1",
        "JUPYTER_PREFER_ENV_PATH": "1",
        "PYTHONPATH": os.pathsep.join([code, *filter(None, [os.environ.get("PYTHONPATH")])]),
    }
    hidden = ("JUPYTER_PATH", "JUPYTER_CONFIG_PATH", "PYTHONSTARTUP")
    before = {name: os.environ.get(name) for name in (*ours, *hidden)}
    try:
        os.environ.update(ours)
        for name in hidden:
            os.environ.pop(name, None)
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})


def render(notebook: Path, page: Path) -> None:
    """Run ``notebook`` in the study's root and write ``page``, which needs no other file.

    The figures and tables it shows are also written one by one, to ``files/`` beside the page.

    Raises:
        UserError: there is no such notebook, or a cell of it failed.
    """
    if not there(notebook):
        raise UserError(
            f"{notebook}: there is no such notebook; there are {', '.join(PAGES)}, cost"
        )
    made_from = provenance()  # before anything is written
    with reading(notebook, "a notebook", *ODD, remedy=RESTORE):
        nbformat.validate(json.loads(notebook.read_text(encoding="utf-8")))
    content = executed(notebook)
    files = take_files(content, f"files/{notebook.stem}")
    with scratch() as folder, nothing_of_the_users(folder):
        exporter = HTMLExporter(
            template_name="basic", exclude_input=True, exclude_anchor_links=True
        )
        exporter.exclude_input_prompt = exporter.exclude_output_prompt = True
        body, _ = exporter.from_notebook_node(content)
    folder_of_files = page.parent / "files" / notebook.stem
    shutil.rmtree(folder_of_files, ignore_errors=True)
    folder_of_files.mkdir(parents=True)
    for name, file in files.items():
        write_bytes(folder_of_files / name, file)
    contents = sections(body)
    for anchor, title in contents:
        body = body.replace(f"<h2>{title}</h2>", f'<h2 id="{anchor}">{title}</h2>', 1)
    name = notebook.stem
    text = filled(
        "page.html.j2",
        name=name,
        title=PAGES.get(name, name.capitalize()),
        pages=PAGES,
        sections=contents,
        body=Markup(body),
        provenance=made_from,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
    )
    write_text(page, text)


def executed(notebook: Path) -> NotebookNode:
    """A notebook with its outputs, run in the current folder.

    Raises:
        UserError: a cell of it failed.
    """
    with scratch() as folder, nothing_of_the_users(folder):
        target = folder / notebook.name
        try:
            papermill.execute_notebook(
                notebook,
                target,
                kernel_name="python3",
                kernel_manager_class=kernel_in(folder),
                shutdown_kernel="immediate",
                progress_bar=False,
            )
        except PapermillExecutionError as error:
            if error.ename == UserError.__name__:  # which says all there is to say
                raise UserError(error.evalue) from None
            cell = f"{error.ename} in cell {error.exec_count}: {error.evalue}"
            raise UserError(f"{notebook}: {cell}") from None
        except RuntimeError as error:  # the process that runs the cells has died
            raise UserError(f"{notebook}: cannot be run to its end: {error}") from None
        return nbformat.read(target, as_version=4)


def publish(study: Study, target: Path) -> None:
    """Copy the pages, the claims and what they were made from, run by run, into ``target``.

    What is large and can be made again stays behind: models, boards, maps, the explorer, and the
    files of figures and tables, but for the figures that README.md shows from ``target``. So does a
    page on cost on which nothing was measured.

    Raises:
        UserError: a page has not been made yet.
    """
    pages = [paths.page(name) for name in PAGES]
    for page in pages:
        if not page.is_file():
            raise UserError(f"{page}: there is no such page; make it first: air report {page.stem}")
    made = pages[0].parent
    copies = {path: Path("html", path.name) for path in made.glob("*.html")}
    copies.pop(paths.page("explore"), None)
    if study.costs().empty:
        copies.pop(paths.page("cost"), None)
    copies |= {made / file: Path("html", file) for file in _in_readme(target / "html")}
    files = [paths.PARAMS_CHECKED, paths.CLAIMS, *(paths.statistics(task) for task in study.tasks)]
    for task in study.tasks:
        for run in study.chosen(task):
            folder = paths.run(task, *run)
            files += [*folder.glob("*.json"), *folder.glob("*.csv")]
    copies |= {file: file for file in files}
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        whole = Path(scratch, target.name)
        for file, name in copies.items():
            if there(file):
                copy = whole / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                with reading(file, "a file"):
                    content = file.read_bytes()
                copy.write_bytes(kept(content) if file.suffix == ".html" else content)
        shutil.rmtree(target, ignore_errors=True)
        whole.replace(target)


def kept(page: bytes) -> bytes:
    """A page as it is published: it links to nothing that is not kept beside it, and says so."""
    text = re.sub(r'\s*<a [^>]*href="(files/|explore\.html)[^>]*>[^<]*</a>', "", page.decode())
    note = (
        "<p>This is an archived copy. Running the study also produces every figure as SVG and PDF, "
        "every table as CSV and LaTeX, and a page that runs its models in the browser.</p>\n"
    )
    return text.replace("</footer>", f"{note}</footer>").encode()


def _in_readme(folder: Path) -> list[str]:
    """The figures that README.md shows from a folder of pages, as their paths there."""
    readme = Path("README.md")
    text = readme.read_text(encoding="utf-8") if readme.is_file() else ""
    return re.findall(rf"\]\({re.escape(folder.as_posix())}/(files/[\w./+-]+\.svg)\)", text)


def take_files(content: NotebookNode, folder: str) -> dict[str, bytes]:
    """Take the files out of an executed notebook's outputs, and link to them as in ``folder``."""
    files: dict[str, bytes] = {}
    for cell in content.cells:
        for output in cell.get("outputs", []):
            name, data = output.get("metadata", {}).get("name"), output.get("data", {})
            if not name:
                continue
            links = []
            for suffix, kind in KINDS.items():
                if kind not in data:
                    continue
                text = data.pop(kind)
                file = f"{name}.{suffix}"
                if file in files:
                    raise UserError(f"{file}: is shown twice in one notebook; rename one of them")
                files[file] = base64.b64decode(text) if suffix == "pdf" else text.encode()
                if suffix != "svg":  # which is in the page itself
                    label = "LaTeX" if suffix == "tex" else suffix.upper()
                    links.append(
                        f'<a href="{folder}/{file}" aria-label="{name} as {label}">{label}</a>'
                    )
            data["text/html"] = data["text/html"].replace(LINKS, " ".join(links))
    return files


def sections(body: str) -> list[tuple[Markup, Markup]]:
    """(anchor, title) of the second-level headings of a page, for its table of contents."""
    titles = re.findall(r"<h2>(.*?)</h2>", body)
    return [(Markup(title.replace(" ", "-")), Markup(title)) for title in titles]


def provenance() -> dict[str, str]:
    """What a page was made from: the same for the same inputs, wherever and whenever it is made."""
    study = Study.load()
    compute = study.params.compute
    return {
        "preset": study.params.preset,
        "parameters": digest([paths.PARAMS_CHECKED]),
        "data": Markup(", ").join(_data(study)) or "none here",
        "report's code": digest(_code()),
        "compute": f"{compute.device}, {compute.precision}, {compute.threads} thread(s)",
        "rendered by": ", ".join(
            f"{name} {version(name).split('+')[0]}" for name in ("air", "torch", "numpy")
        ),
    }


def digest(files: Iterable[Path]) -> str:
    """One short hash of the contents of several files, in this order."""
    content = hashlib.sha256()
    for file in files:
        content.update(hashlib.sha256(file.read_bytes()).digest())
    return content.hexdigest()[:8]


def _code() -> list[Path]:
    """The files that pages are made by: this package, the types it reads, the tasks' words."""
    folders = (HERE, HERE.parent / "results")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    files += [HERE.parent / "tasks" / name for name in ("__init__.py", "words.py")]
    return sorted(path for path in files if path.parent.name != "__pycache__")


def _data(study: Study) -> list[str]:
    """The hash of each split that there is, in short; of data from the hub also ``repo@commit``."""
    found: list[str] = []
    for task in study.tasks:
        statistics = study.statistics(task)
        if statistics is None:
            continue
        for split in ("train", "test"):
            found.append(f"{task} {split} {statistics.splits.of(split).sha256[:8]}")
        if statistics.revision:
            # <wbr>: 40 digits and the name in one word would be wider than a phone
            repo, commit = escape(statistics.repo), escape(statistics.revision)
            found.append(Markup(f"{task} from {repo}@<wbr>{commit}"))
    return found
