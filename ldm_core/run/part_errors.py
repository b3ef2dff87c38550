"""What a library raises while a part of a model computes, told as a matter of the model's folder.

A config value that no weight contradicts, such as a number of heads or a token's id, is first
noticed where a network computes, and the library then speaks of shapes and indices.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn

from ldm_core.contracts import Model
from ldm_core.errors import LdmError, PluginError, said
from ldm_core.machine import machine_error
from ldm_core.model.libraries import LIBRARIES
from ldm_core.model.loading import PANIC, in_short
from ldm_core.plugins.registry import installed
from ldm_core.run.converted_parts import converted_by

BENEATH = frozenset({"torch", "numpy", "tokenizers", *LIBRARIES, *sys.stdlib_module_names})
"""Packages whose code computes a part, or stands between it and ours without a share in it."""
REROUTE = "ldm_core.run.attention"
"""Stands between torch and each of its functions while an attention kernel is in force."""
RUN = "ldm_core.run."
DEVICE = re.compile(r"\b(CUDA|cuDNN|CUBLAS|MPS|XPU|HIP)\b", re.IGNORECASE)
"""Names that a device's own errors bear."""


@contextmanager
def computing(model: Model) -> Iterator[None]:
    """See that what a library raises while it computes a part is an `LdmError` that names the part
    and the model's folder.

    What comes from other code passes as it is: ours, a plugin's or a caller's, which may have asked
    for what no part can give; and so does what is of the machine or of the person.

    Raises:
        LdmError: a part cannot be computed as its folder describes it.
        PluginError: nor as another package's converter left it.
    """
    try:
        yield
    except LdmError:
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != PANIC:
            raise
        what, name = _failed(error, model)
        if what is None or machine_error(error) is not None or DEVICE.search(said(error)):
            raise
        whose = None if name is None else converted_by(model.parts[name])
        if whose is not None:
            raise PluginError(whose, f"as the {name} that it converted computed", error) from error
        raise LdmError(
            f"{what} cannot be computed: {type(error).__name__}: {in_short(error)}",
            "a file of its folder, most often a config, says what does not go with its weights or "
            "with the other parts of the model.",
        ) from error


def is_of_libraries(error: BaseException) -> bool:
    """Whether an error came from the code of libraries and ours alone, which were given something
    that they cannot compute, and is not the machine's."""
    if machine_error(error) is not None or DEVICE.search(said(error)):
        return False
    modules = (str(f.f_globals.get("__name__")) for f, _ in traceback.walk_tb(error.__traceback__))
    return {name.partition(".")[0] for name in modules} <= BENEATH | _own()


def _own() -> frozenset[str]:
    own = {p.package for p in installed().plugins if p.distribution == "ldm-core"}
    return frozenset(own | {"ldm_core"})


def _failed(error: BaseException, model: Model) -> tuple[str | None, str | None]:
    """The part that a library was computing when it raised an error, in words and by its name; None
    where others have a share in it, or where it is no part that has a name."""
    names = {id(part.module): name for name, part in model.parts.items()}
    own = _own()
    what, name, inside, shared = None, None, False, False
    for frame, _ in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__"))
        owner = frame.f_locals.get("self")
        if module.partition(".")[0] in BENEATH:
            inside = inside or isinstance(owner, nn.Module) or id(owner) in names
            if id(owner) in names:
                name = names[id(owner)]
                where = model.info.file or model.info.folder
                what = f"the {name} ({type(owner).__name__}) in {where}"
            elif inside and what is None:
                what = f"the {type(owner).__name__} beside the model"
        elif module.partition(".")[0] not in own:
            shared = True
        elif module != REROUTE:
            inside = False
            if module.startswith(RUN):  # which others have called with what a network takes
                what, name, shared = None, None, False
    return (what, name) if inside and not shared else (None, None)
