"""What all records in the files of results have in common.

A number that was not finite stands as null (``Maybe``), where there may be nothing to count.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, Self, get_type_hints

import numpy as np
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

Count = Annotated[int, Field(gt=0)]
Index = Annotated[int, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Maybe = float | None
Ends = Annotated[list[float], Field(min_length=2, max_length=2)]
MaybeEnds = Annotated[list[Maybe], Field(min_length=2, max_length=2)]


class Record(BaseModel):
    """A part of a JSON file. Keys that it does not name are ignored when it is read."""

    model_config = ConfigDict(strict=True, allow_inf_nan=False, frozen=True)
    #: keys that are written after those whose names are not known beforehand
    written_last: ClassVar[tuple[str, ...]] = ()

    def content(self) -> dict[str, Any]:
        """What is written: the values that were given, keys in the order of the class."""
        return self.model_dump(exclude_unset=True)

    @model_serializer(mode="wrap")
    def _in_order(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = handler(self)
        last = {key: content.pop(key) for key in self.written_last if key in content}
        return content | last


class Skipped(Record):
    """In the place of a probe's measures: why there are none, in words."""

    skipped: str


class Curve(Record):
    """Means over puzzles and their standard errors, one of each per place ``[places]``."""

    mean: list[Maybe]
    se: list[Maybe]

    @model_validator(mode="after")
    def _equally_long(self) -> Self:
        if len(self.mean) != len(self.se):
            raise ValueError(f"has {len(self.mean)} means, but {len(self.se)} standard errors")
        return self


class Held(NamedTuple):
    """What an array of a file must be: ``Annotated[np.ndarray, Held("NS", "b")]``.

    ``axes`` names each axis by a letter ("2" has two entries); ``kinds`` are numpy's letters of the
    kinds of numbers it may hold.
    """

    axes: str
    kinds: str = "iu"


class Arrays:
    """The arrays of an .npz file: the base of dataclasses whose fields are :class:`Held`."""

    @classmethod
    def read(cls, arrays: Mapping[str, np.ndarray], **sizes: int) -> Self:
        """The file's arrays, held against the sizes of its axes, by letter.

        N, the number of puzzles, is that of ``inputs``; a letter that has no size gets that of the
        first array with such an axis. A field with a default may be missing.

        Raises:
            ValueError: says which array is missing, or is not what it should be.
        """
        if "inputs" in arrays and arrays["inputs"].ndim:
            sizes |= {"N": len(arrays["inputs"])}
        sizes["2"] = 2
        found = {}
        for name, hint in get_type_hints(cls, include_extras=True).items():
            held: Held = hint.__metadata__[0]
            if name not in arrays:
                if hasattr(cls, name):
                    continue
                raise ValueError(f"{name} is missing")
            array = arrays[name]
            if array.ndim == len(held.axes):
                sizes = dict(zip(held.axes, array.shape, strict=True)) | sizes
            wanted = tuple(sizes.get(letter, letter) for letter in held.axes)
            if array.shape != wanted:
                raise ValueError(f"{name} has shape {array.shape}, not {wanted}")
            if array.dtype.kind not in held.kinds:
                raise ValueError(f"{name} holds numbers of another kind ({array.dtype})")
            found[name] = array
        return cls(**found)

    def content(self) -> dict[str, np.ndarray]:
        """What is written: every array under its name."""
        return {name: array for name, array in vars(self).items() if array is not None}
