"""How much ``air`` says: what the package logs, as lines on stderr, from the level asked for on.

What a command is asked for (a list, an answer, a comparison) is printed on stdout at any level.
Used from Python, the package logs as every library does: nothing below WARNING is shown until the
caller configures ``logging``.
"""

import functools
import inspect
import logging
import sys
from collections.abc import Callable
from typing import Annotated, Any, ClassVar, TypeVar

import typer

F = TypeVar("F", bound=Callable[..., Any])
LEVEL = "air.level"  # the key under which a command line keeps the level it asks for


class ToStderr(logging.Handler):
    """A line per record on whatever is stderr at the time, warnings and errors marked as such."""

    MARKS: ClassVar = {
        logging.ERROR: "air: ",
        logging.WARNING: "warning: ",
        logging.DEBUG: "debug: ",
    }

    def emit(self, record: logging.LogRecord) -> None:
        print(self.MARKS.get(record.levelno, "") + self.format(record), file=sys.stderr, flush=True)


HANDLER = ToStderr()


def show(level: int) -> None:
    """Show what the package logs from ``level`` on."""
    package = logging.getLogger("air")
    package.addHandler(HANDLER)  # once, however often
    package.setLevel(level)


def by_default(context: typer.Context) -> None:
    """Show progress and results, unless the options before the command's name say otherwise."""
    if LEVEL not in context.meta:
        show(logging.INFO)


def _ask_for(level: int) -> Callable[[typer.Context, bool], None]:
    def ask(context: typer.Context, given: bool) -> None:
        if not given:
            return
        if context.meta.setdefault(LEVEL, level) != level:  # shared with the commands below
            raise typer.BadParameter("--verbose and --quiet exclude each other")
        show(level)

    return ask


Verbose = Annotated[
    bool,
    typer.Option(
        "-v",
        "--verbose",
        help="also show which files are read and written",
        callback=_ask_for(logging.DEBUG),
    ),
]
Quiet = Annotated[
    bool,
    typer.Option(
        "-q",
        "--quiet",
        help="show only warnings and errors",
        callback=_ask_for(logging.WARNING),
    ),
]


class App(typer.Typer):
    """A set of commands, each of which takes --verbose and --quiet besides its own options."""

    def command(self, *names: Any, **how: Any) -> Callable[[F], F]:
        """As that of Typer."""
        register = super().command(*names, **how)

        def add(function: F) -> F:
            register(_with_level(function))
            return function

        return add


def _with_level(function: Callable[..., Any]) -> Callable[..., Any]:
    """``function`` with two options more, whose callbacks do all that they do."""

    @functools.wraps(function)
    def run(*values: Any, verbose: bool, quiet: bool, **named: Any) -> Any:
        return function(*values, **named)

    more = {"verbose": Verbose, "quiet": Quiet}
    signature = inspect.signature(function)
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=kind)
        for name, kind in more.items()
    ]
    run.__annotations__ = {**function.__annotations__, **more}
    vars(run)["__signature__"] = signature.replace(
        parameters=[*signature.parameters.values(), *options]
    )
    return run
