"""What may be configured: ``params.yaml``, checked whole before anything runs.

Both engines read the same file; claims and pages read the checked copy, ``results/params.json``.
Each phase says in its own ``config.py``, each task in its own module, what its section may hold;
here they are put together and held against each other. Nothing here computes anything.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError, create_model, model_validator
from pydantic_core import ErrorDetails

from air.devices import ComputeConfig
from air.evaluation.config import EvaluationConfig
from air.explorer.config import ExploreConfig
from air.files import UserError, complaint, read_yaml
from air.foreign.config import CheckpointConfig
from air.model.config import ModelConfig
from air.model.variants import Variant
from air.probes.config import ProbesConfig
from air.sources import SOURCES
from air.sources.config import Data
from air.tasks.registry import TASKS
from air.training.config import TrainConfig

PARAMS = Path("params.yaml")


class TaskParams(BaseModel):
    """The section of one task: its puzzles, and what is trained, evaluated and probed."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    data: Data
    model: ModelConfig
    train: TrainConfig
    evaluation: EvaluationConfig
    variants: list[str] = Field(
        description="what to train (`air variants`); [] here and for seeds leaves the task out"
    )
    seeds: list[int] = Field(description="one training run per variant and seed")
    imported: list[str] = Field(
        description="models that others trained, under names of your choice; [] for none"
    )
    checkpoints: dict[str, CheckpointConfig] = Field(
        {}, description="where each of them comes from, by its name"
    )
    probes: ProbesConfig
    explore: ExploreConfig = ExploreConfig()

    @model_validator(mode="after")
    def _fits(self) -> "TaskParams":
        for key, other in (("variants", "seeds"), ("seeds", "variants")):
            if not getattr(self, key) and getattr(self, other):
                raise _At(key, f"is empty, but {other} is not; empty both to leave the task out")
        _each_once("variants", self.variants)
        for name in self.variants:
            try:
                Variant.parse(name)
            except ValueError as error:
                raise _At("variants", str(error)) from None
        _each_once("seeds", self.seeds)
        for seed in self.seeds:
            if not 0 <= seed < 2**63:
                raise _At("seeds", f"{seed} is not allowed: seeds are whole numbers from 0")
        self._imported_fit()
        for name, chosen in [
            *((f"probes.{name}", probe) for name, probe in self.probes),
            ("explore", self.explore),
        ]:
            for key, asked, there in (
                ("variants", chosen.variants, self.variants),
                ("seeds", chosen.seeds, self.seeds),
            ):
                _each_once(f"{name}.{key}", asked or [])
                for value in asked or []:
                    if value not in there:
                        raise _At(
                            f"{name}.{key}",
                            f"{value} is not among the task's {key} {there}, so it is not trained",
                        )
        _each_once("probes.freeze.later", self.probes.freeze.later)
        for name, looked_at in (
            ("attention", self.probes.attention),
            ("emergence", self.probes.emergence),
        ):
            _each_once(f"probes.{name}.segments", looked_at.segments)
        if self.variants:  # whose sizes these are
            self._within_the_model()
        return self

    def _within_the_model(self) -> None:
        if (self.evaluation.segments or self.model.max_segments) < self.model.max_segments:
            raise _At(
                "evaluation.segments",
                f"{self.evaluation.segments} is below model.max_segments "
                f"{self.model.max_segments}, at which accuracy is reported",
            )
        depth = self.probes.rollout.depth
        if depth is not None and depth < self.model.max_segments:
            raise _At(
                "probes.rollout.depth",
                f"{depth} is below model.max_segments {self.model.max_segments}",
            )
        emergence = self.probes.emergence
        for name, looked_at in (("attention", self.probes.attention), ("emergence", emergence)):
            if name == "emergence" and not emergence.variants:
                continue  # the default segments may be beyond the model's
            late = max(looked_at.segments)
            if late >= self.model.max_segments:
                raise _At(
                    f"probes.{name}.segments",
                    f"{late} is not allowed: model.max_segments is {self.model.max_segments}, "
                    f"so segments go from 0 to {self.model.max_segments - 1}",
                )
        if emergence.variants and self.train.snapshots is None:
            raise _At(
                "probes.emergence.variants",
                "are probed at their snapshots, but train.snapshots asks for none",
            )
        last = self.model.max_segments - 1
        for segment in self.probes.freeze.later:
            if segment > last:
                raise _At(
                    "probes.freeze.later", f"{segment} is not allowed: segments go from 0 to {last}"
                )
        H_cycle, L_cycle = self.probes.attention.L_update
        for key, cycle, cycles in (
            ("L_update", H_cycle, self.model.H_cycles),
            ("L_update", L_cycle, self.model.L_cycles),
            ("H_update", self.probes.attention.H_update, self.model.H_cycles),
        ):
            if cycle >= cycles:
                raise _At(
                    f"probes.attention.{key}",
                    f"{cycle} is not allowed: the model's cycles go from 0 to {cycles - 1}",
                )

    def _imported_fit(self) -> None:
        _each_once("imported", self.imported)
        for name in self.imported:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]*", name):
                raise _At("imported", f"{name!r} is not allowed: letters, digits, _ and -")
            if _is_variant(name):
                raise _At("imported", f"{name} is a variant of our own; choose another name")
            if name not in self.checkpoints:
                raise _At("imported", f"{name} has no entry in checkpoints, with its source")
        for name, entry in self.checkpoints.items():
            if entry.variant is not None and not _is_variant(entry.variant):
                raise _At(f"checkpoints.{name}.variant", f"{entry.variant} is not a variant")
            for probe in entry.probes or []:
                if probe not in type(self.probes).model_fields:
                    known = ", ".join(type(self.probes).model_fields)
                    raise _At(f"checkpoints.{name}.probes", f"{probe} is none of {known}")


class RuntimeConfig(BaseModel):
    """What changes no result: the ``runtime`` section of params.yaml. No stage depends on it."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    save_every_seconds: float = Field(
        60.0, gt=0, description="how often an unfinished training run is saved to .resume/"
    )


class Params(BaseModel):
    """The whole of params.yaml, with a section for each task (:meth:`task`)."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    preset: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        description="name of this setting, shown in the report; `air publish` names a folder by it",
    )
    compute: ComputeConfig
    runtime: RuntimeConfig

    @model_validator(mode="after")
    def _some_task(self) -> "Params":
        if not any(self.task(name).variants or self.task(name).imported for name in TASKS):
            raise ValueError(f"no task has variants to train: give some to {' or '.join(TASKS)}")
        return self

    def task(self, name: str) -> TaskParams:
        """The section of a task, by its name."""
        section: TaskParams = getattr(self, name)
        return section


_SECTIONS: dict[str, Any] = {
    name: (create_model(name.capitalize(), __base__=TaskParams, data=(SOURCES[name], ...)), ...)
    for name in TASKS
}
_WHOLE = create_model("Whole", __base__=Params, **_SECTIONS)


def schema() -> dict[str, Any]:
    """The JSON Schema of params.yaml, by which editors complete and explain its keys.

    What holds between keys (:meth:`TaskParams._fits`) is beyond it: `air check` says that.
    """
    found = _WHOLE.model_json_schema()
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found} | {
        "title": "params.yaml",
        "description": "What the AIR study runs; `air check` checks it whole.",
    }


class _At(ValueError):
    """A fault that belongs to a key below the section being checked."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


def _is_variant(name: str) -> bool:
    try:
        Variant.parse(name)
    except ValueError:
        return False
    return True


def _each_once(key: str, values: list[Any]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise _At(key, f"{value} is listed twice")


def load_params(path: Path = PARAMS) -> Params:
    """Read and check ``path``.

    Raises:
        UserError: one line naming the file, the key's path and what is allowed.
    """
    content = read_yaml(path, "run this where params.yaml is, or copy one of presets/")
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: must be a mapping with the keys {', '.join(_WHOLE.model_fields)}")
    try:
        return _WHOLE.model_validate(content)
    except ValidationError as error:
        raise UserError(f"{path}: {_describe(error, content)}") from None


def _describe(error: ValidationError, content: Any) -> str:
    """The first fault, as ``key.path: what is wrong, what is allowed``."""
    fault = error.errors()[0]
    path = _path(fault)
    cause = fault.get("ctx", {}).get("error")
    if isinstance(cause, _At):
        path += cause.key.split(".")
    where = ".".join(path)
    match fault["type"]:
        case "extra_forbidden":
            return f"{where}: unknown key; allowed here: {', '.join(_keys_beside(path, content))}"
        case "union_tag_not_found":
            return f"{where}.source: this key is missing: generate, csv or huggingface"
        case "union_tag_invalid":
            allowed = fault["ctx"]["expected_tags"]
            return f"{where}.source: must be one of {allowed}, not {fault['ctx']['tag']!r}"
        case "value_error":
            return complaint(path, fault)
    return complaint(path, *(other for other in error.errors() if _path(other) == path))


def _path(fault: ErrorDetails) -> list[str]:
    """The keys that lead to a fault, without the kinds that pydantic names among them."""
    path = [str(part) for part in fault["loc"]]
    if len(path) > 2 and path[1] == "data" and path[2] in ("generate", "csv", "huggingface"):
        del path[2]  # the source
    kinds = ("constrained-int", "int", "list[int]")
    return [part for part in path if part not in kinds and not part.startswith("literal[")]


def _keys_beside(path: list[str], content: Any) -> list[str]:
    """The keys allowed in the section that holds the key at ``path``."""
    section: Any = _WHOLE
    for part in path[:-1]:
        # a mapping's values, or the field of a section
        of_mapping = get_origin(section) is dict
        section = get_args(section)[1] if of_mapping else section.model_fields[part].annotation
        content = content[part]
    for kind in get_args(section):  # of the kinds of data section, the one that was chosen
        if get_args(kind.model_fields["source"].annotation) == (content["source"],):
            section = kind
    return list(section.model_fields)
