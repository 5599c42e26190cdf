"""What every file of results holds, defined once: writers build these objects, readers get them.

A module for each kind of file, so that a stage depends on its own. A stage writes an object's
:meth:`air.results.record.Record.content`; the report reads the file back into the same type.
"""
