"""From now on, `dvc plots show` and `dvc plots diff` make pages in this clone that need no network.

    python workflow/scripts/offline_plots.py

A page of DVC's loads its drawing library, Vega, from the network when it is opened. Snakemake comes
with a copy for its own reports: the template that is written here, .dvc/plots.html, holds it.
"""

import logging
import subprocess
import sys
from pathlib import Path

from snakemake.assets import Assets

from air.files import UserError
from air.verbosity import show
from air.writing import write_text

TEMPLATE = Path(".dvc/plots.html")
LIBRARIES = ("vega", "vega-lite", "vega-embed")  # each needs those before it
log = logging.getLogger("air.offline_plots")


def write() -> None:
    """Write the template, and have DVC use it in this clone.

    Raises:
        UserError: this is not the folder of a project of DVC's.
    """
    if not TEMPLATE.parent.is_dir():
        raise UserError(f"{TEMPLATE.parent}: there is no such folder; run this in the project's")
    code = "".join(f"<script>{Assets.get_content(f'{it}/{it}.js')}</script>" for it in LIBRARIES)
    page = '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>DVC plots</title>'
    write_text(TEMPLATE, f"{page}{code}</head><body>{{plot_divs}}</body></html>")
    command = ["dvc", "config", "--local", "plots.html_template", TEMPLATE.name]
    subprocess.run(command, check=True)
    log.info("%s written; dvc plots show and dvc plots diff use it", TEMPLATE)


if __name__ == "__main__":
    show(logging.INFO)
    try:
        write()
    except UserError as error:
        log.error("%s", error)
        sys.exit(2)
