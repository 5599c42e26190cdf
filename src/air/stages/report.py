"""The stage `report`: a notebook, run and rendered. What it shows is made by what it imports."""

from pathlib import Path

from air import paths
from air.files import UserError
from air.reporting.pages import render


def report(notebook: str) -> Path:
    """Write reports/html/NOTEBOOK.html and its figures and tables; the page."""
    notebook = notebook.removesuffix(".ipynb")
    if Path(notebook).name != notebook or notebook.startswith("."):
        raise UserError(f"{notebook!r} is not a notebook name; give one without a folder")
    render(paths.notebook(notebook), paths.page(notebook))
    return paths.page(notebook)
