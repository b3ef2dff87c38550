"""Inputs made by someone who tries, one file a kind; none of them lies in the repository."""
