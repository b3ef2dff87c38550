"""Walk a noisy latent along a grid, one file each."""
