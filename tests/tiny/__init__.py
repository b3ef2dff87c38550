"""Tiny random-weight models of the real classes, as folders in Diffusers' format."""

from tiny.controlnet import write_controlnet as write_controlnet
from tiny.controlnet import write_t2i_adapter as write_t2i_adapter
from tiny.ddpm import write_ddpm as write_ddpm
from tiny.dit import write_dit as write_dit
from tiny.flux import write_flux as write_flux
from tiny.folders import FOLDERS as FOLDERS
from tiny.ip_adapter import write_image_encoder as write_image_encoder
from tiny.ip_adapter import write_ip_adapter as write_ip_adapter
from tiny.latent_diffusion import write_latent_diffusion as write_latent_diffusion
from tiny.latent_diffusion_text import write_latent_diffusion_text as write_latent_diffusion_text
from tiny.pixart import write_pixart as write_pixart
from tiny.stable_diffusion import write_stable_diffusion as write_stable_diffusion
from tiny.stable_diffusion_3 import write_stable_diffusion_3 as write_stable_diffusion_3
from tiny.stable_diffusion_xl import write_stable_diffusion_xl as write_stable_diffusion_xl
