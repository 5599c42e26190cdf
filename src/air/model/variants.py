"""A variant is data: where and how the input enters, the level token, one network or two.

Its name says it all: ``L2x_H`` adds 2x in the L-update and nothing in the H-update. Options follow
a plus sign: an operator (``Lx_H+linear``), a level token (``L2x_H2x+prepend``), ``+two_networks``.
"""

import re
from dataclasses import dataclass
from typing import Literal, cast, get_args

Operator = Literal["add", "linear", "nonlinear", "hadamard"]
LevelToken = Literal["none", "addition", "prepend", "prepend_no_strip"]

# The paper's 16 models by its names, in its order, each with its full name.
PAPER_VARIANTS = {
    "Lx_H": "Lx_H",
    "L_Hx": "L_Hx",
    "L2x_H": "L2x_H",
    "L_H2x": "L_H2x",
    "Lx_H2x": "Lx_H2x",
    "L2x_Hx": "L2x_Hx",
    "Lx_Hx": "Lx_Hx",
    "L2x_H2x": "L2x_H2x",
    "operator_minus": "L-1x_H",
    "operator_linear": "Lx_H+linear",
    "operator_nonlinear": "Lx_H+nonlinear",
    "operator_hadamard": "Lx_H+hadamard",
    "level_token_addition": "L2x_H2x+addition",
    "level_token_prepend": "L2x_H2x+prepend",
    "level_token_prepend_no_strip": "L2x_H2x+prepend_no_strip",
    "hrm": "Lx_H+two_networks",
}

_NUMBER = r"(-?\d+(?:\.\d+)?)"
_INJECTION = re.compile(rf"L(?:{_NUMBER}?(x))?_H(?:{_NUMBER}?(x))?")


@dataclass(frozen=True)
class Variant:
    """How x enters the two updates (paper, section on injection): n_L x in L, n_H x in H."""

    n_L: float
    n_H: float
    operator: Operator = "add"
    level_token: LevelToken = "none"
    two_networks: bool = False

    @classmethod
    def parse(cls, name: str) -> "Variant":
        """The variant called ``name``: one of the paper's 16 names, or a full name.

        Raises:
            ValueError: ``name`` is neither; the message says what would be.
        """
        injection, *options = PAPER_VARIANTS.get(name, name).split("+")
        match = _INJECTION.fullmatch(injection)
        if not match:
            raise ValueError(
                f"{name!r} is not a variant: neither one of {', '.join(PAPER_VARIANTS)} nor a name "
                "such as L3x_H, L0.5x_Hx, Lx_H2x+linear, L2x_H2x+prepend or L_Hx+two_networks"
            )
        n_L, n_H = (
            (float(number) if number else 1.0) if x else 0.0
            for number, x in (match.group(1, 2), match.group(3, 4))
        )
        operator, level_token, two_networks = "add", "none", False
        for option in options:
            if option in get_args(Operator)[1:] and operator == "add":
                operator = option
            elif option in get_args(LevelToken)[1:] and level_token == "none":
                level_token = option
            elif option == "two_networks" and not two_networks:
                two_networks = True
            else:
                raise ValueError(
                    f"{name!r} is not a variant: +{option} must be one of "
                    f"{', '.join(get_args(Operator)[1:])} (the operator), "
                    f"{', '.join(get_args(LevelToken)[1:])} (the level token) or two_networks, "
                    "each kind at most once"
                )
        variant = cls(
            n_L, n_H, cast(Operator, operator), cast(LevelToken, level_token), two_networks
        )
        if not _INJECTION.fullmatch(variant.full_name.split("+")[0]):
            raise ValueError(
                f"{name!r} is not a variant: a coefficient has at most ten digits and, unless it "
                "is 0, a size from 0.0001 to 9999999999"
            )
        if variant.name != name:
            raise ValueError(f"{name!r} is not the name of that variant: write {variant.name}")
        return variant

    @property
    def name(self) -> str:
        """The paper's name; for any other variant its full name."""
        return next(
            (name for name, full in PAPER_VARIANTS.items() if full == self.full_name),
            self.full_name,
        )

    @property
    def full_name(self) -> str:
        """The name spelled out, such as ``Lx_H+linear`` for the paper's ``operator_linear``."""
        options: list[str] = [self.operator] if self.operator != "add" else []
        options += [self.level_token] if self.level_token != "none" else []
        options += ["two_networks"] if self.two_networks else []
        injection = f"L{_coefficient(self.n_L)}_H{_coefficient(self.n_H)}"
        return "+".join([injection, *options])


def _coefficient(number: float) -> str:
    if number == 0:
        return ""
    return "x" if number == 1 else f"{number:.10g}x"
