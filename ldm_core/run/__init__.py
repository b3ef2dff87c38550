"""A composition on weights, and a run of it."""
