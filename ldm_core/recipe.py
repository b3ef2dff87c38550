"""Where `read_recipe` used to be, for programs that import it from here; it lives in
`ldm_core.composition.recipe`."""

from ldm_core.composition.recipe import read_recipe as read_recipe
