"""dvc.lock: what each stage of the study read and made, with hashes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from air.files import UserError

LOCK = Path("dvc.lock")


def cache() -> Path:
    """The folder of DVC's cache, which need not lie in the project."""
    from dvc.config import Config

    return Path(Config(dvc_dir=".dvc").get("cache", {}).get("dir") or ".dvc/cache")


def stages(content: bytes, name: str) -> dict[str, Mapping[str, Any]]:
    """The stages in a dvc.lock that the study in the current folder has, by name.

    DVC itself leaves in that file what other parameters or an earlier dvc.yaml had.

    Args:
        content: of the file
        name: what messages call it

    Raises:
        UserError: it is not a lock of DVC's, or DVC cannot read dvc.yaml.
    """
    from dvc.exceptions import DvcException
    from dvc.repo import Repo
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        locked = dict(YAML(typ="safe").load(content)["stages"])
    except (YAMLError, LookupError, TypeError, ValueError):
        raise UserError(f"{name}: is not what DVC writes") from None
    try:
        with Repo() as repo:
            known = {stage.addressing for stage in repo.index.stages}
    except DvcException as error:
        raise UserError(f"dvc.yaml: {' '.join(str(error).split())}") from None
    return {stage: entry for stage, entry in locked.items() if stage in known}
