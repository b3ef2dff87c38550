"""Train the denoiser of a latent diffusion model, text encoder and UNet together."""

from __future__ import annotations

from torch import Tensor, nn

from ldm_pipelines.training.batches import latent_batches
from ldm_pipelines.training.data import open_source
from ldm_pipelines.training.folder import read_autoencoder, write_stable_diffusion
from ldm_pipelines.training.loop import make_accelerator, train_and_write
from ldm_pipelines.training.losses import denoising_loss
from ldm_pipelines.training.networks import (
    build_text_encoder,
    build_unet,
    silence_unseen_tokens,
)
from ldm_pipelines.training.settings import DenoiserSettings
from ldm_pipelines.training.tokenizer import build_tokenizer, first_fragment, words_of
from ldm_pipelines.training.warm_start import check_start, take_weights

EMA_DECAY = 0.999


class DenoisingLoss(nn.Module):
    """Text encoder and UNet with their loss: ``forward(…)`` is a scalar."""

    def __init__(self, text_encoder: nn.Module, unet: nn.Module) -> None:
        super().__init__()
        self.text_encoder = text_encoder
        self.unet = unet

    def forward(self, x: Tensor, target: Tensor, timesteps: Tensor, tokens: Tensor) -> Tensor:
        """x, target (batch, channels, h, w); timesteps (batch,); tokens (batch, length)."""
        text = self.text_encoder(tokens).last_hidden_state
        prediction = self.unet(x, timesteps, encoder_hidden_states=text).sample
        return denoising_loss(prediction.float(), target)


def train_denoiser(settings: DenoiserSettings) -> None:
    """See `ldm_pipelines.training.commands.train_denoiser`."""
    settings.check_free()
    source = open_source(settings.data, resolution=settings.resolution, need_captions=True)
    vae = read_autoencoder(settings.autoencoder)
    accelerator = make_accelerator(settings.mixed_precision)
    words = words_of(source.texts())
    tokenizer = build_tokenizer(words, settings.max_tokens)
    text_encoder = build_text_encoder(tokenizer, settings.seed)
    silence_unseen_tokens(text_encoder, tokenizer, first_fragment(words))
    unet = build_unet(vae.config.latent_channels, settings.resolution // 8, settings.seed)
    if settings.from_model is not None:
        take_weights(text_encoder, settings.from_model, "text_encoder")
        take_weights(unet, settings.from_model, "unet")
        check_start(settings.from_model, settings.autoencoder, tokenizer)

    def tokenize(captions: list[str]) -> Tensor:
        encoding = tokenizer(
            captions, padding="max_length", truncation=True, max_length=settings.max_tokens,
            return_tensors="pt",
        )  # fmt: skip
        tokens: Tensor = encoding.input_ids
        return tokens

    def write() -> None:
        write_stable_diffusion(
            settings.out / settings.result, settings.autoencoder, text_encoder, tokenizer, unet
        )

    train_and_write(
        settings,
        accelerator,
        DenoisingLoss(text_encoder, unet),
        latent_batches(settings, accelerator, source, vae, tokenize, tokenize([""])[0]),
        write,
        ema_decay=EMA_DECAY,
    )
