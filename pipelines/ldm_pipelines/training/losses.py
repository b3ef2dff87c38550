"""The losses of latent diffusion, each as in its paper."""

from __future__ import annotations

from torch import Tensor


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, 1)) in nats, summed over all but the batch.

    Args:
        mean, log_variance: (batch, ...), same shape.
    Returns:
        (batch,)
    Source: Kingma & Welling 2014, arXiv:1312.6114, appendix B.
    """
    kl = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)
    return kl.flatten(1).sum(1)


def reparameterise(mean: Tensor, log_variance: Tensor, noise: Tensor) -> Tensor:
    """A sample of N(mean, exp(log_variance)) through which gradients flow, all (batch, ...).

    Source: Kingma & Welling 2014, arXiv:1312.6114, section 2.4.
    """
    return mean + (0.5 * log_variance).exp() * noise


def reconstruction_loss(picture: Tensor, reconstruction: Tensor) -> Tensor:
    """Mean absolute plus mean squared error over all values; both (batch, channels, h, w).

    The absolute error keeps edges sharp (Rombach et al. 2022, arXiv:2112.10752, appendix G, has
    it too); the squared one is what PSNR measures. No perceptual network, no discriminator.
    """
    difference = reconstruction - picture
    return difference.abs().mean() + difference.square().mean()


def add_noise(x0: Tensor, noise: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """The noisy latent alpha·x0 + sigma·noise; alpha and sigma broadcast over (batch, ...).

    Source: Ho et al. 2020, arXiv:2006.11239, Eq. 4.
    """
    return alpha * x0 + sigma * noise


def denoising_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean squared error between what the network returned and what it should return.

    With epsilon as target this is L_simple (Ho et al. 2020, arXiv:2006.11239, Eq. 14); with
    v = alpha·noise - sigma·x0 it is the "SNR + 1" weighting of the x0 error (Salimans & Ho 2022,
    arXiv:2202.00512, section 4). On latents: Rombach et al. 2022, arXiv:2112.10752, Eq. 2.
    """
    return (prediction - target).square().mean()
