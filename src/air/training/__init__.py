"""How a model learns: batches, optimisers, the loop, its state on disk, evaluation."""
