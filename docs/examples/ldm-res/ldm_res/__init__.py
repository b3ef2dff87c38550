"""The refined exponential solver for ldm, and one plugin of every other kind around it."""
