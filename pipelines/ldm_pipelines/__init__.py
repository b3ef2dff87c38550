"""Ready-made pipelines, training commands and the models that ship with the package."""
