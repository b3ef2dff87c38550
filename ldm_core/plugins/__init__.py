"""Finding plugins, naming them, and reading their options."""
