"""Sources of puzzles: generators, files, the hub, and what a data set's statistics hold."""

from air.sources.registry import SOURCES as SOURCES
