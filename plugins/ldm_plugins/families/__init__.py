"""One kind of model folder each."""
