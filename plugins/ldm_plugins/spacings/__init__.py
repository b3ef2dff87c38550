"""Choose the points that a run visits, one file each."""
