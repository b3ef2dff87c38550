"""Diffusers and Transformers without voices of their own: what matters is said as ours."""

from ldm_core.model.libraries import loading as quiet

__all__ = ["quiet"]
