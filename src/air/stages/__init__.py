"""The stages of the study, a file each: what it reads, the call that computes, what it writes.

``air.cli`` parses and calls them. What can change the bytes that a stage writes is what its file
imports (:mod:`air.stages.code`), and dvc.yaml lists just that.
"""
