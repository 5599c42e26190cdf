"""Models that others trained: where their checkpoints are, and what they are in our terms."""
