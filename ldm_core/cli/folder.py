"""The folder that a program is run in, from which nothing is imported.

It is read before the path is in order, so that it imports what Python has imported already.
"""

import os
import sys


def leave_folder() -> None:
    """See that nothing is imported from the folder that the program is run in, which ``-c`` and an
    empty entry of ``PYTHONPATH`` would put on the path."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    unasked = {""}
    try:
        here = os.getcwd()
    except OSError:  # of a folder that is gone
        here = ""
    asked = any(entry and os.path.realpath(entry) == here for entry in entries)
    if "" in entries and len(entries) > 1 and not asked:
        unasked.add(here)
    sys.path[:] = [place for place in sys.path if place not in unasked]
