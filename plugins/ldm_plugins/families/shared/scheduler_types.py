"""What kinds of values the settings of a scheduler's config have."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ldm_core.errors import LdmError
from ldm_plugins.families.shared.scheduler_settings import PATH, SETTINGS
from ldm_plugins.shared.config_types import (
    COUNT,
    LAYERS,
    NUMBER,
    NUMBERS,
    POSITIVE,
    SEVERAL,
    SWITCH,
    WORD,
    Kind,
    check_kinds,
)

SCHEDULER: Mapping[str, Kind] = {
    "_class_name": WORD,
    "num_train_timesteps": COUNT,
    "trained_betas": NUMBERS,
    **dict.fromkeys(("shift", "base_shift", "max_shift", "shift_terminal"), NUMBER),
    **dict.fromkeys(("base_image_seq_len", "max_image_seq_len", "steps_offset"), LAYERS),
    **dict.fromkeys(("use_dynamic_shifting", "stochastic_sampling", "invert_sigmas"), SWITCH),
    **dict.fromkeys(("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"), SWITCH),
    "use_flow_sigmas": SWITCH,
    "flow_shift": POSITIVE,
    "time_shift_type": WORD,
    "lambda_min_clipped": ("a number", lambda v: isinstance(v, int | float)),
}
BY_DEFAULT: Mapping[type, Kind] = {
    bool: SWITCH,
    int: ("a whole number", lambda v: isinstance(v, int) and not isinstance(v, bool)),
    float: NUMBER,
    str: WORD,
    list: SEVERAL,
}
"""What a setting of a scheduler's class may be whose default is of a type."""


def check_scheduler(config: Mapping[str, Any], file: Path) -> None:
    """See that the values of a scheduler's config are of their kinds.

    Raises:
        LdmError: one is not, or there are more timesteps than any network was trained on.
    """
    defaults = SETTINGS.get(str(config.get("_class_name")), PATH)
    kinds = {key: BY_DEFAULT[type(v)] for key, v in defaults.items() if type(v) in BY_DEFAULT}
    check_kinds(config, {**kinds, **SCHEDULER}, file)
    if (config.get("num_train_timesteps") or 0) > 100_000:
        raise LdmError(f"{file}: num_train_timesteps should be 100000 at most.")
