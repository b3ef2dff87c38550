"""Another model of a model: one kind of change each."""
