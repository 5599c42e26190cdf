"""Models that others trained, in a study: the ``checkpoints`` of a task in params.yaml."""

import re

from pydantic import BaseModel, ConfigDict, Field, field_validator

# a checkpoint in a repository of the hub, or a folder of them
HUB = (
    "hub:OWNER/NAME, hub:OWNER/NAME@REVISION, hub:OWNER/NAME@REVISION:FOLDER/step_N, or "
    "hub:OWNER/NAME@REVISION:FOLDER for all its steps"
)
_ADDRESS = re.compile(
    r"hub:([\w.-]+/[\w.-]+)(?:@([A-Za-z0-9][A-Za-z0-9._/-]{0,199}))?(?::([^:\0]+))?"
)


def is_address(source: str) -> bool:
    """Whether it is meant for an address of the hub, and not a path."""
    return source.startswith("hub:")


def parsed(address: str) -> tuple[str, str, str | None]:
    """The parts of an address of the hub: repository, revision (main), path in it ("." for all).

    Raises:
        ValueError: it is none.
    """
    match = _ADDRESS.fullmatch(address)
    path = match[3] if match else None
    if not match or (path not in (None, ".") and set((path or "").split("/")) & {"", "..", "."}):
        raise ValueError(f"{address}: is not a valid hub address; expected {HUB}")
    return match[1], match[2] or "main", path


class CheckpointConfig(BaseModel):
    """An entry of ``checkpoints`` of a task in params.yaml: one model that others trained."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    source: str = Field(
        min_length=1,
        description="a step_N file with all_config.yaml beside it, or a folder of several steps of "
        "one training: its path, or hub:OWNER/NAME[@REVISION][:FOLDER or :FOLDER/step_N]",
    )
    variant: str | None = Field(
        None, description="which variant it is, if the checkpoint's arch.name does not name it"
    )
    probes: list[str] | None = Field(
        None, description="which probes look at it; null: all (emergence: if there are steps)"
    )

    @field_validator("source")
    @classmethod
    def _address(cls, source: str) -> str:
        if is_address(source):
            parsed(source)
        return source
