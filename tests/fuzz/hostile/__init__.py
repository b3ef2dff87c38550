"""Inputs made by someone who tries, one file a kind. Nothing of them is a binary in the repository."""
