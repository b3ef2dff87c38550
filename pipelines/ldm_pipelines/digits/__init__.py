"""Handwritten digits: real pictures, and a reader fitted on half of them."""
