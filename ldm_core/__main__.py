"""``python -m ldm_core``: the command line, for launchers that start a module."""

from ldm_core.cli import program

if __name__ == "__main__":
    program()
