"""What a trained model does inside: decoded rollouts, frozen states, attention.

All three walk :meth:`air.model.network.AIR.segment` with an observer; they ask a task only what its
protocol offers and never which task it is.
"""
