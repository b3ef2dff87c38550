"""A page to work on, in a browser: `ldm ui`."""
