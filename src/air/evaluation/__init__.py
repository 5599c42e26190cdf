"""How many puzzles a model solves."""
