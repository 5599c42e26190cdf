"""Puzzles: tokens, neighbourhoods, violations, augmentation. Knows no torch.

The tasks stand in :data:`air.tasks.registry.TASKS`; the protocol they share is
:class:`air.tasks.task.Task`.
"""
