"""Which modules can change what a stage writes: those that its file imports, directly or not."""

import ast
import hashlib
from collections.abc import Iterator, Set
from pathlib import Path

from air.tasks.registry import CLASSES

PACKAGE = Path(__file__).parents[1]
# Modules that cannot: they check and refuse, say where files or tasks lie, or speak to the user.
# Parameters are dependencies by their values; a stage imports the class of its own section.
WITHOUT_EFFECT = {
    "air", "air.cli", "air.files", "air.params", "air.paths", "air.progress", "air.stages",
    "air.stages.code", "air.tasks.registry",
}  # fmt: skip
TASKS = "air.tasks.registry"


def modules(stage: str, task: str | None = None) -> list[Path]:
    """The files of every module that can change what ``stage`` (the name of its file) writes.

    Args:
        task: of one task; None for a stage that is run once for all of them.
    """
    without = WITHOUT_EFFECT - ({"air.params"} if stage == "check" else set())  # which writes them
    start = path_of(f"air.stages.{stage}")
    found = imported(start, without)
    if path_of(TASKS) in imported(start, without - {TASKS}):  # which finds tasks by their names
        for name in [task] if task else CLASSES:
            found = sorted({*found, *imported(path_of(f"air.tasks.{name}"), without)})
    return found


def digest(stage: str, task: str) -> str:
    """One hash of the code of a stage."""
    content = hashlib.sha256()
    for path in modules(stage, task):
        content.update(path.read_bytes())
    return content.hexdigest()


def imported(start: Path, without_effect: Set[str] = WITHOUT_EFFECT) -> list[Path]:
    """``start`` and the files of ours that it imports, also late, also through others."""
    found, ahead = {start}, [start]
    while ahead:
        for name in _imports(ahead.pop()):
            parts = name.split(".")
            # importing a module runs the packages that it lies in
            for package in (".".join(parts[:end]) for end in range(1, len(parts) + 1)):
                path = path_of(package)
                if path.exists() and package not in without_effect and path not in found:
                    found.add(path)
                    ahead.append(path)
    return sorted(found)


def path_of(module: str) -> Path:
    """The file of a module or package, which may not exist."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _imports(path: Path) -> Iterator[str]:
    """What a file imports of ours, but for what only type checkers read."""
    ahead: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while ahead:
        node = ahead.pop()
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] == "air")
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "air":
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        ahead += ast.iter_child_nodes(node)
