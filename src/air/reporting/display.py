"""What a notebook shows: figures and tables, as HTML for the page and as files beside it.

A figure also comes as SVG and PDF, a table as CSV and LaTeX. They travel in the notebook's output,
from which ``pages`` writes them out.
"""

import base64
import io
import re
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import quote

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt
import pandas as pd
from IPython.display import display
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup
from matplotlib.figure import Figure as Canvas

from air.reporting.captions import CAPTIONS

STYLE = Path(__file__).with_name("style.mplstyle")
TEMPLATES = Environment(loader=FileSystemLoader(STYLE.parent), autoescape=True)
WIDTH = 7.2  # inches, of every figure
DPI = 200  # of what is drawn as pixels
KINDS = {  # of the files beside a page, by suffix
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "csv": "text/csv",
    "tex": "text/latex",
}
ALIKE = (  # two lines of an SVG, not transparent, of the same look
    r'(<path d="[^"]*)(" [^>]*style="fill:none;(?![^>]*opacity)[^>]*/>)(?:</g><g>)?'
    r'<path d="([^"]*)\2'
)
ALONE = r"<g>(<(\w+)[^<>]*(?:/>|>[^<]*</\2>))</g>"  # a group of one element
LETTER = r'<text style="([^"]*)" x="([^"]*)" y="([^"]*)">([^<&])</text>'
LETTERS = r'(?:<text style="[^"]*" x="[^"]*" y="[^"]*">[^<&]</text>)+'
LINKS = "<!-- links to the files -->"


@dataclass(frozen=True)
class Display:
    """HTML, and the files that go with it under ``name``, as text by suffix (PDF in base64)."""

    html: str
    name: str = ""
    files: Mapping[str, str] = field(default_factory=dict)

    def _repr_mimebundle_(self, **_: object) -> tuple[dict[str, str], dict[str, str]]:
        files = {KINDS[suffix]: text for suffix, text in self.files.items()}
        return {"text/html": self.html, **files}, {"name": self.name}


def show(*shown: Display | list[Display]) -> None:
    """Show each, from a notebook."""
    for one in shown:
        for part in one if isinstance(one, list) else [one]:
            display(part)


def missing(what: str) -> Display:
    """A sentence in the place of something that has no results yet."""
    return Display(markup('<p class="missing">{{ what }}</p>', what=what))


def folded(shown: Display, summary: str) -> Display:
    """The same behind its ``summary``, which opens it; on paper it is open."""
    html = markup(
        "<details><summary>{{ summary }}</summary>{{ html }}</details>",
        summary=summary,
        html=Markup(shown.html),
    )
    return replace(shown, html=html)


@contextmanager
def style() -> Iterator[None]:
    """Our style on matplotlib's own defaults, whatever the user's matplotlibrc says."""
    with plt.style.context(STYLE, after_reset=True):
        yield


def as_figure(canvas: Canvas, name: str, finding: str, alt: str) -> Display:
    """A figure whose title is its ``finding``; ``name`` is kind-task[-variant].

    The caption is the kind's. ``alt`` says what is drawn to those who do not see it.
    """
    title = textwrap.fill(finding, int(11 * canvas.get_size_inches()[0]))
    canvas.suptitle(title, x=0.01, ha="left", fontsize=10, fontweight="bold")
    pdf = io.BytesIO()
    canvas.savefig(pdf, format="pdf", dpi=DPI, metadata={"CreationDate": None})
    text = _svg(canvas)
    picture = _image(text, f"{alt} {finding}")
    html = _figure(picture, "figure", name, CAPTIONS[name.split("-")[0]])
    files = {"svg": text, "pdf": base64.b64encode(pdf.getvalue()).decode()}
    return Display(html, name, files)


def as_image(canvas: Canvas, alt: str, kind: str) -> Markup:
    """A small picture within a page, of class ``kind``: no title, no caption, no files."""
    return _image(_svg(canvas), alt, kind)


def _svg(canvas: Canvas) -> str:
    """What is drawn, as SVG; the canvas is closed."""
    svg = io.BytesIO()
    canvas.savefig(svg, format="svg", dpi=DPI, metadata={"Date": None})
    plt.close(canvas)
    return _compact(svg.getvalue().decode())


def _image(svg: str, alt: str, kind: str = "") -> Markup:
    return markup(
        '<img{% if kind %} class="{{ kind }}"{% endif %} alt="{{ alt }}" src="{{ source }}">',
        source=Markup(data_uri(svg)),
        alt=alt,
        kind=kind,
    )


def data_uri(svg: str) -> str:
    """An SVG as the address of an image, for an attribute in double quotes.

    Encoded is what would end or change it, and what nbconvert would escape, in more bytes (``<`` as
    ``&lt;``); nothing else: a quarter less than base64.
    """
    # quotes of attributes need no code if they are single ones
    single = re.sub(r"<[^'>]*>", lambda tag: tag[0].replace('"', "'"), svg.strip())
    return "data:image/svg+xml," + quote(single, safe=" !'()*+,/:;=?@[]^`{|}~$")


def _compact(svg: str) -> str:
    """An SVG that looks the same in a third of the bytes.

    Comments, metadata and names of groups go, and groups of one; points are steps of tenths; what
    several elements look like is said once.
    """
    svg = re.sub(r"<!--.*?-->|<!DOCTYPE.*?>|<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"\s+", " ", re.sub(r">\s+<", "><", svg)).strip() + "\n"
    svg = re.sub(r"<[^>]*>", _compact_tag, svg)
    svg = _while_it_changes(ALIKE, r"\1 \3\2", svg)  # which become one path
    svg = _while_it_changes(ALONE, r"\1", svg)
    svg = re.sub(LETTERS, _compact_letters, svg)
    looks = Counter(re.findall(r' style="([^"]*)"', svg))
    rules = []
    for number, look in enumerate(look for look, count in looks.items() if count > 1):
        svg = svg.replace(f' style="{look}"', f' class="c{number}"')
        rules.append(f".c{number}{{{look}}}")
    return svg.replace("</style>", f"{''.join(rules)}</style>", 1)


def _while_it_changes(pattern: str, replacement: str, text: str) -> str:
    before = None
    while text != before:
        before, text = text, re.sub(pattern, replacement, text)
    return text


def _compact_letters(match: re.Match[str]) -> str:
    """Letters one after the other: those of one look and line become one text, each at its x."""
    lines: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for look, x, y, letter in re.findall(LETTER, match[0]):
        lines.setdefault((look, y), []).append((x, letter))
    texts = []
    for (look, y), letters in lines.items():
        places, line = " ".join(x for x, _ in letters), "".join(letter for _, letter in letters)
        texts.append(f'<text style="{look}" x="{places}" y="{y}">{line}</text>')
    return "".join(texts)


def _compact_tag(match: re.Match[str]) -> str:
    tag = re.sub(r"(?<=<g) id=\"[^\"]*\"| transform=\"rotate\(-0 [^\"]*\"", "", match[0])
    tag = re.sub(r"(?<=[;:,]) ", "", tag)
    tag = re.sub(r"(?<= d=\")[^\"]*", _compact_path, tag)
    if tag.startswith("<text"):
        tag = re.sub(r"(?<= [xy]=\")[^\"]*", lambda place: f"{float(place[0]):.1f}", tag)
    return re.sub(r"-?\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", tag)


def _compact_path(match: re.Match[str]) -> str:
    """From point to point in tenths: ``M 10 10 L 12.52 10 L 12.52 11`` is ``M10 10h2.5v1``."""
    here = begin = (0, 0)
    parts, before = [], ""
    for command, numbers in re.findall(r"([MLQCz])([^A-Za-z]*)", match[0]):
        if command == "z":
            parts.append("z")
            here, before = begin, "z"
            continue
        ends = [round(10 * float(number)) for number in numbers.split()]
        steps = [end - here[place % 2] for place, end in enumerate(ends)]
        here = (ends[-2], ends[-1])
        letter = command.lower()
        if command == "M":  # stays where it is: paths are put together
            begin, letter, steps = here, "M", ends
        elif letter == "l" and 0 in steps:
            letter, steps = ("h", steps[:1]) if steps[1] == 0 else ("v", steps[1:])
        said = " ".join(f"{step / 10:g}" for step in steps)
        goes_on = letter == before != "M"
        parts.append((" " if goes_on else letter) + said)
        before = letter
    return re.sub(r"(?<![\d.])0\.|(?<=-)0\.", ".", "".join(parts)).replace(" -", "-")


def as_table(frame: pd.DataFrame, name: str, caption: str, html: Markup | None = None) -> Display:
    """A table with its caption; ``html`` if the page's is not simply the frame's."""
    table = html or Markup(frame.to_html(index=False, border=0, escape=True))
    files = {
        "csv": frame.to_csv(index=False),
        "tex": frame.to_latex(index=False, escape=True, caption=caption, label=f"tab:{name}"),
    }
    return Display(_figure(table, "table", name, caption), name, files)


def _figure(content: Markup, kind: str, name: str, caption: str) -> Markup:
    """A figure or table with its caption; what is wider than a phone scrolls, by keyboard too."""
    return filled(
        "figure.html.j2",
        content=content,
        kind=kind,
        name=name,
        caption=caption,
        links=Markup(LINKS),
    )


def filled(template: str, **values: object) -> Markup:
    """A template of this folder with its values, which are escaped unless they are markup."""
    return Markup(TEMPLATES.get_template(template).render(values))


def markup(template: str, **values: object) -> Markup:
    """The same of a template given here, a line."""
    return Markup(TEMPLATES.from_string(template).render(values))
