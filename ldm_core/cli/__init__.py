"""The command line. On top of everything; nothing imports it."""

from ldm_core.cli.main import main

__all__ = ["main"]
