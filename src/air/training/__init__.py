"""Training: batches, the step and its losses, optimisers, the loop, its state on disk."""
