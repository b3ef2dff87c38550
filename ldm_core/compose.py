"""`compose` by the name of its module before it moved to `ldm_core.composition`."""

from ldm_core.composition.compose import compose as compose
