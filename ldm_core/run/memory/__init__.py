"""What a run will take of memory, and where weights are put so that it fits."""
