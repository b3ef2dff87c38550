"""``python -m ldm_core``: the command line, for launchers that start a module."""

import os
import sys

if __name__ == "__main__":
    # `-m` puts the folder that it is run in on the path, from which nothing is imported
    asked = map(os.path.realpath, filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)))
    if not sys.flags.safe_path and os.path.realpath(sys.path[0]) not in [*asked]:
        del sys.path[0]
    from ldm_core.cli import program

    program()
