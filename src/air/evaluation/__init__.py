"""Evaluation: how many puzzles a model solves."""
