"""Plugins for ldm; what they are called stands in `plugin`."""
