"""Wrappers around the denoiser, one file each."""
