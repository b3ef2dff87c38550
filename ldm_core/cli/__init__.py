"""The command line. On top of everything; nothing imports it."""

import gc

from ldm_core.cli.folder import leave_folder

leave_folder()  # before anything that could lie in it is imported
_collects = gc.isenabled()
gc.disable()  # there is no garbage yet, and it is looked for all the while
try:
    from ldm_core.cli.main import main, program
finally:
    if _collects:
        gc.enable()

__all__ = ["main", "program"]
