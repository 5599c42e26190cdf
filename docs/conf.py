"""The site: README.md, docs/*.md and the docstrings of src/air. `make docs` builds it.

Links stand in the Markdown as a code host understands them; what they need to work in the site,
too, is below. Nothing is fetched, neither to build the site nor to read it.
"""

import inspect
import os
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_type_hints

import typer
from docutils import nodes
from pydantic import BaseModel
from sphinx import addnodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.osutil import relative_uri
from sphinx.util.typing import stringify_annotation
from typer.cli import get_docs_for_click

ROOT = Path(__file__).parents[1]
PAGES = Path("reports/published")
sys.path.insert(0, str(ROOT / "src"))

from air import cli  # noqa: E402

project = "air"
html_title = "AIR, reproduced"
author = "The air developers"
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
html_theme = "furo"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
exclude_patterns = ["_build"]
myst_heading_anchors = 3
smartquotes = False  # -- is an option as often as a dash
pygments_style = "friendly"
pygments_dark_style = "native"

autodoc_default_options = {"members": True, "exclude-members": "model_config"}
add_module_names = False
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
napoleon_numpy_docstring = False
linkcheck_ignore = [f"{PAGES}/"]  # the site's own pages
# Other packages' names, whose place is not known without a network, and private ones have no entry.
# So have type variables, which are single capitals.
OTHERS = (
    "collections|jupyter_client|logging|markupsafe|matplotlib|nbformat|numpy|pandas|pathlib"
    "|pydantic_core|rich|threading|torch|typer"
)
nitpick_ignore_regex = [("py:.*", rf"({OTHERS})\..*|(\w+\.)*_\w+|air\.(\w+\.)+[A-Z]")]
# as Sphinx writes types and their limits in a signature
LIMITS = ("types.Annotated", "FieldInfo", "NoneType", "Ge", "MinLen", "MaxLen")
nitpick_ignore = [("py:class", name) for name in LIMITS]

PACKAGES = {
    "model": "the model, AIR",
    "tasks": "puzzles",
    "sources": "sources of puzzles",
    "foreign": "models that others trained",
    "training": "how the model is trained",
    "evaluation": "how many puzzles the model solves",
    "stages": "what each stage reads and writes",
    "probes": "what the model does inside",
    "results": "what every file of results holds",
    "reporting": "tables, figures, claims and pages",
    "explorer": "a page in which trained models run",
}


def write_reference() -> None:
    """A page per package, docs/api/*.rst, with every module's docstrings; one for all others."""
    package = ROOT / "src/air"
    pages = {name: sorted((package / name).rglob("*.py")) for name in PACKAGES}
    pages["air"] = sorted(package.glob("*.py"))
    for name, files in pages.items():
        full = "air" if name == "air" else f"air.{name}"
        lines = [full, "=" * len(full), ""]
        lines += [f".. automodule:: {full}", ""]
        for file in files:
            if file.stem not in ("__init__", "cli"):
                module = ".".join(["air", *file.relative_to(package).with_suffix("").parts])
                lines += [module, "-" * len(module), "", f".. automodule:: {module}", ""]
        write(f"{name}.rst", "\n".join(lines))
    command = typer.main.get_command(cli.app)
    text = get_docs_for_click(
        obj=command, ctx=typer.Context(command), name="air", title="The commands"
    )
    # without the list of commands, which cuts off what each one does, and --help every time
    text = re.sub(r"\*\*Commands\*\*.*?(?=\n## )", "", text, flags=re.DOTALL)
    text = re.sub(r"(\*\*Options\*\*:\n\n)?\* `--help`: .*\n(?!\n\*)", "", text)
    write("commands.md", re.sub(r"^Example: (.*)", r"Example: `\1`", text, flags=re.MULTILINE))


def write(name: str, text: str) -> None:
    """A page of the reference; one that has not changed stays, and Sphinx need not read it."""
    page = ROOT / "docs/api" / name
    page.parent.mkdir(exist_ok=True)
    if not page.exists() or page.read_text(encoding="utf-8") != text:
        page.write_text(text, encoding="utf-8")


write_reference()


# Files that a page of the site includes: as a link names them, without the suffix.
INCLUDED = {
    ROOT / "README": "index",
    ROOT / "CONTRIBUTING": "contributing",
    ROOT / "CHANGELOG": "changelog",
    ROOT / "models/README": "models",
}


def start_from_docs(app: Sphinx, path: Path, docname: str, content: list[str]) -> None:
    """A file is included from docs/: there its links begin in another folder."""
    folder = Path(os.path.relpath((ROOT / "docs" / path).parent, ROOT / "docs")).as_posix()
    content[0] = re.sub(r"\]\((?!\w+:|#)", f"]({folder}/", content[0])


def page_at(target: Path) -> Path:
    return target if target.suffix == ".html" else target / "index.html"


class LinksToTheRepository(SphinxTransform):
    """Where a link to a file outside docs/ leads: a module to its documentation, a page of a study
    to that page, a folder of them to its index (they are copied into the site), anything else to a
    copy of the file."""

    default_priority = 500

    def apply(self, **kwargs: Any) -> None:
        here = self.env.docname
        for node in list(self.document.findall(nodes.Element)):
            if node.get("reftype") != "myst":
                continue
            target = (Path(self.env.doc2path(here)).parent / node["reftarget"]).resolve()
            if target in INCLUDED:
                node["reftarget"] = INCLUDED[target]
            elif target.suffix == ".py" and target.is_relative_to(ROOT / "src"):
                parts = target.relative_to(ROOT / "src").with_suffix("").parts
                module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
                link = addnodes.pending_xref("", *node.children, reftarget=module)
                link["refdomain"], link["reftype"], link["refexplicit"] = "py", "mod", True
                node.replace_self(link)
            elif target.is_relative_to(ROOT / PAGES) and (page := page_at(target)).is_file():
                uri = relative_uri(f"{here}.html", page.relative_to(ROOT).as_posix())
                node.replace_self(nodes.reference("", "", *node.children, refuri=uri))


def copy_pages(app: Sphinx, error: Exception | None) -> None:
    shutil.copytree(ROOT / PAGES, app.outdir / PAGES, dirs_exist_ok=True)


def tell_fields(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """What a section of params.yaml may hold: its keys with their descriptions and defaults."""
    if not (inspect.isclass(obj) and issubclass(obj, BaseModel)):
        return
    lines += ["", "Args:"]
    annotations: dict[str, Any] = {}
    for base in reversed(obj.__mro__[: obj.__mro__.index(BaseModel)]):
        annotations |= inspect.get_annotations(base, eval_str=True)
    kinds = get_type_hints(SimpleNamespace(__annotations__=annotations))  # without metadata
    for key, field in obj.model_fields.items():
        default = "" if field.is_required() else f" (default: ``{field.default!r}``)"
        kind = stringify_annotation(kinds[key], "smart")
        lines.append(f"    {key} ({kind}): {field.description or ''}{default}")


def leave_out_fields(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str, returned: str
) -> tuple[str, str] | None:
    """The constructor's arguments are the keys that :func:`tell_fields` tells of."""
    return ("", "") if inspect.isclass(obj) and issubclass(obj, BaseModel) else None


def leave_out_places(
    app: Sphinx, what: str, name: str, obj: Any, skip: bool, options: Any
) -> bool | None:
    """The fields of a named tuple stand in its signature; "Alias for field number 0" says less."""
    return True if (inspect.getdoc(obj) or "").startswith("Alias for field number") else None


def setup(app: Sphinx) -> None:
    app.add_transform(LinksToTheRepository)
    app.connect("include-read", start_from_docs)
    app.connect("build-finished", copy_pages)
    app.connect("autodoc-process-docstring", tell_fields, priority=400)  # before napoleon
    app.connect("autodoc-skip-member", leave_out_places)
    app.connect("autodoc-process-signature", leave_out_fields)
