"""Names and options become typed parts."""
