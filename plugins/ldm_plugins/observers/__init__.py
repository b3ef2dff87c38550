"""Hear of each evaluation of the denoiser."""
