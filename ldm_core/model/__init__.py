"""A folder or file becomes a model."""
