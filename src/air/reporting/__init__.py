"""The report: the results as tables, figures, claims and pages. Reads only files.

Notebooks in ``reports/`` hold prose and calls into ``tables`` and ``figures``; ``pages`` runs and
renders them; ``claims`` holds the paper's claims against the results.
"""
