"""Turn what a person gives into what a network takes, one file each."""
