"""Probes, which look inside a trained model: decoded rollouts, frozen states, attention.

They walk :meth:`air.model.network.AIR.segment` with an observer, and ask a task only what its
protocol offers and never which task it is; :mod:`air.probes.emergence` takes the measures of all
three at several steps of a training. From Python: ``air.probes.rollout(model, puzzles)``,
``air.probes.freeze(model, puzzles)``, ``air.probes.attention(model, puzzles, segments=[0, 7])``.
"""

from typing import TYPE_CHECKING, Any

from air.files import OutOfRange as OutOfRange

if TYPE_CHECKING:
    from air.probes.attention_maps import attention as attention
    from air.probes.freezing import freeze as freeze
    from air.probes.rollouts import rollout as rollout

_MODULES = {"rollout": "rollouts", "freeze": "freezing", "attention": "attention_maps"}


def __getattr__(name: str) -> Any:
    """Import a probe when it is used, so that its configuration can be read without torch."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
