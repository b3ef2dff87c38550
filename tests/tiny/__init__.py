"""Tiny random-weight models of the real classes, as folders in Diffusers' format."""

from tiny.stable_diffusion import write_stable_diffusion as write_stable_diffusion
