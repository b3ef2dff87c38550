"""Training of the autoencoder and of the denoiser of a latent diffusion model."""
