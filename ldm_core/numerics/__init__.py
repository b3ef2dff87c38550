"""Points, noise schedules and what a network predicts: imports torch, numpy and itself alone."""
