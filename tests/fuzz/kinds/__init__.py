"""Strategies that know a grammar and mutate what is right in it, one file a kind of input."""
