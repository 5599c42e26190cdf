"""The model, AIR: one Transformer f, two states z_L and z_H, and every variant of how input enters.

Read in this order: ``variants`` (the 16 models as data), ``config``, ``layers`` (the block),
``network`` (the two updates and the heads), ``boards`` (tokens in, probabilities out); ``kernels``
is speed.
"""
