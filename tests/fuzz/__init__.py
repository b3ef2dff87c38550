"""Fuzzers of everything that a person or a file can say, and what judges the answers.

``python -m fuzz run --cases 2000`` in ``tests`` runs them by hand; see `fuzz.__main__`.
"""
