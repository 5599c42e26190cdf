"""Reading files: whatever is wrong with one becomes a sentence that names it."""

import json
import logging
import os
import reprlib
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

T = TypeVar("T")
AGAIN = "delete it and run again"
STAGE = "run the stage that makes it"
log = logging.getLogger(__name__)
LONGEST = 1000  # characters of a message
STUDY = ("data", "results", "reports", ".dvc", ".resume")  # folders that the stages fill


def ensure_home() -> None:
    """Set HOME if there is none to be found: libraries take it for granted.

    In a container a user may be a number without a name.
    """
    try:
        Path.home()
    except RuntimeError:
        os.environ["HOME"] = tempfile.gettempdir()


class OutOfRange(ValueError):
    """A segment or update that the model does not have was requested, or no puzzles."""


class UserError(Exception):
    """Something a user can fix: one sentence that names the file, row or key. Exit code 2.

    It is one line of bounded length whatever it quotes: a name, a value, a library's complaint.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(part.strip() for part in message.splitlines())
        line = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in line)
        if len(line) > LONGEST:
            line = f"{line[: LONGEST // 2]} ... {line[-LONGEST // 3 :]}"
        super().__init__(line)


@contextmanager
def reading(
    path: Path, kind: str, *faults: type[Exception], absent: str = STAGE, remedy: str = AGAIN
) -> Iterator[None]:
    """Say in one sentence what is wrong with the file that the block reads.

    Args:
        kind: what it must be, such as "a JSON file".
        faults: what libraries raise at a file that is not.
        absent, remedy: what to do about a file that is missing or damaged.
    """
    if "\0" in str(path):
        raise UserError(f"{path}: no file has such a name; {absent}")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to read a pipe or a device may never end
            raise UserError(f"{path}: cannot be read (it is not a regular file); {remedy}")
        yield
        log.debug("read %s", path)
    except FileNotFoundError:
        what = "there is no such file"
        if path.is_symlink():
            what = "is a link to a file that is not there"
        raise UserError(f"{path}: {what}; {absent}") from None
    except faults as error:
        raise UserError(f"{path}: not {kind} ({error}); {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error})") from None


def ours_to_make(path: Path) -> None:
    """Check that what a user wants written at ``path`` comes between no stage and its files.

    Raises:
        UserError: it lies in a folder that holds what stages make, which DVC watches.
    """
    place = Path(os.path.realpath(path))
    for name in STUDY:
        if place.is_relative_to(os.path.realpath(name)):
            raise UserError(
                f"{path}: {name}/ is reserved for stage outputs; choose a path outside it"
            )


def there(path: Path) -> bool:
    """Whether anything has this name, be it a broken link: what is there can be damaged."""
    return os.path.lexists(path)


def checked(form: type[T], content: Any, path: Path, remedy: str = AGAIN) -> T:
    """``content`` of ``path`` as an object of a type that pydantic knows, whose form it must have.

    Raises:
        UserError: names the first key that is wrong, and what would be right.
    """
    try:
        found: T = _adapter(cast(Any, form)).validate_python(content)
        return found
    except ValidationError as error:
        fault = error.errors()[0]
        said = complaint([str(part) for part in fault["loc"]], fault)
        raise UserError(f"{path}: {said}; {remedy}") from None


def complaint(keys: Sequence[str], *faults: ErrorDetails) -> str:
    """What pydantic found wrong at a key: ``key.path: what is wrong, what it is instead``.

    Args:
        faults: of one key; where it may be of several kinds, each has its own.
    """
    first = faults[0]
    if first["type"] == "missing":
        said = "this key is missing"
    elif first["type"] == "value_error":  # which is our own
        said = first["msg"].removeprefix("Value error, ")
    else:
        kinds = dict.fromkeys(fault["msg"][0].lower() + fault["msg"][1:] for fault in faults)
        said = f"{' or '.join(kinds)}, not {short(first['input'])}"
    return f"{'.'.join(keys)}: {said}" if keys else said


@cache
def _adapter(form: Any) -> TypeAdapter[Any]:
    return TypeAdapter(form)


def short(value: Any) -> str:
    """A value as a message quotes it: lists within lists, by aliases, could fill the memory."""
    brief = reprlib.Repr()
    brief.maxlevel, brief.maxlist, brief.maxstring = 2, 4, 60
    try:
        return brief.repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return "a number with too many digits"


def read_json(path: Path, form: type[T]) -> T:
    """The content of a JSON file as an object of type ``form`` (see :func:`checked`).

    Raises:
        UserError: the file is missing, no JSON, or of another form.
    """
    with reading(path, "a JSON file", ValueError, RecursionError):
        content = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    return checked(form, content, path)


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is not a number in JSON")


def read_yaml(path: Path, absent: str, remedy: str = "fix it") -> Any:
    """The content of a YAML 1.2 file. No tag of it makes anything but plain values.

    Raises:
        UserError: the file is missing or no YAML; the message says at which line.
    """
    # late: training needs no YAML
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    # beyond YAMLError: what comes of a number, date or directive that is none, and of depth
    odd = (ValueError, TypeError, AttributeError, LookupError, AssertionError, RecursionError)
    with reading(path, "a YAML file", YAMLError, *odd, absent=absent, remedy=remedy):
        text = path.read_text(encoding="utf-8")
        try:
            return YAML(typ="safe", pure=True).load(text)
        except MarkedYAMLError as error:
            line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
            raise UserError(f"{path}{line}: not valid YAML: {error.problem}") from None
