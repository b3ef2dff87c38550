"""The `moving-shapes` world: short videos of a shape that crosses the picture, and their judge."""
