"""air: the reproducibility workflow of "One Model, Two Roles" (AIR, arXiv 2605.17811).

One folder, one question: ``tasks`` (what is a puzzle), ``model`` (what is AIR), ``training`` (how
it learns), ``probes`` (what it does inside), ``reporting`` (what we say about it). ``params`` says
what may be configured, ``cli`` turns it into commands.
"""

__version__ = "0.1.0"
