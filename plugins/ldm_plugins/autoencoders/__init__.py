"""Encoders and decoders between pixels and latents."""
