"""Where `read_weights` used to be, for programs that import it from here; it lives in
`ldm_plugins.conditioning.shared.weighted_prompt`."""

from ldm_plugins.conditioning.shared.weighted_prompt import read_weights as read_weights
