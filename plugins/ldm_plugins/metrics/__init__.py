"""File formats of what is drawn."""
