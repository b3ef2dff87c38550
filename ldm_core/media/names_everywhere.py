"""Names of files that every system takes, so that a folder of pictures can be carried to any."""

from __future__ import annotations

SIGNS = '<>:"|?*'
"""Which Windows takes in no name; separators of folders are refused elsewhere."""
NUMBERED = "0123456789\u00b9\u00b2\u00b3"
"""Numbers of a port; the raised ones count too."""
DEVICES = frozenset(
    ["con", "prn", "aux", "nul", "conin$", "conout$"]
    + [f"{port}{number}" for port in ("com", "lpt") for number in NUMBERED]
)
"""Which Windows takes for a device, in any folder and before any suffix."""


def why_not_everywhere(name: str) -> str | None:
    """Why a name without its suffix is no file's name on some system; None where it is one on all.

    Source: Microsoft, "Naming Files, Paths, and Namespaces".
    """
    if signs := "".join(sign for sign in SIGNS if sign in name):
        return f"has {' '.join(signs)}, which Windows takes in no name"
    if name.split(".")[0].rstrip(" ").casefold() in DEVICES:
        return "is a device's on Windows"
    if name.endswith((".", " ")):
        return f"ends in {'a dot' if name.endswith('.') else 'a space'}, which Windows takes away"
    return None
