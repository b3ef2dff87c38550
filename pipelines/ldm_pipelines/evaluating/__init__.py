"""How good pictures are: metrics of folders of them, as a table."""
