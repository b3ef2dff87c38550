"""Tiny random-weight models of the real classes, as folders in Diffusers' format."""

from tiny.ace_step import write_ace_step as write_ace_step
from tiny.animatediff import write_animatediff as write_animatediff
from tiny.animatediff import write_motion_adapter as write_motion_adapter
from tiny.audioldm_2 import write_audioldm_2 as write_audioldm_2
from tiny.aura_flow import write_aura_flow as write_aura_flow
from tiny.chroma import write_chroma as write_chroma
from tiny.cogvideox import write_cogvideox as write_cogvideox
from tiny.cogview_4 import write_cogview_4 as write_cogview_4
from tiny.controlnet import write_controlnet as write_controlnet
from tiny.controlnet import write_t2i_adapter as write_t2i_adapter
from tiny.controlnet import write_transformer_controlnet as write_transformer_controlnet
from tiny.ddpm import write_ddpm as write_ddpm
from tiny.dit import write_dit as write_dit
from tiny.flux import write_flux as write_flux
from tiny.flux import write_redux as write_redux
from tiny.flux_2 import write_flux_2 as write_flux_2
from tiny.flux_2 import write_flux_2_file as write_flux_2_file
from tiny.folders import FOLDERS as FOLDERS
from tiny.folders import MORE_FOLDERS as MORE_FOLDERS
from tiny.folders import OTHER_FOLDERS as OTHER_FOLDERS
from tiny.folders import Kind as Kind
from tiny.hidream import write_hidream as write_hidream
from tiny.hunyuan_video import write_hunyuan_video as write_hunyuan_video
from tiny.ip_adapter import write_image_encoder as write_image_encoder
from tiny.ip_adapter import write_ip_adapter as write_ip_adapter
from tiny.kolors import write_kolors as write_kolors
from tiny.krea_2 import write_krea_2 as write_krea_2
from tiny.latent_diffusion import write_latent_diffusion as write_latent_diffusion
from tiny.latent_diffusion_text import write_latent_diffusion_text as write_latent_diffusion_text
from tiny.ltx_2 import write_latent_upsampler as write_latent_upsampler
from tiny.ltx_2 import write_ltx_2 as write_ltx_2
from tiny.ltx_video import write_ltx_video as write_ltx_video
from tiny.lumina_2 import write_lumina_2 as write_lumina_2
from tiny.pixart import write_pixart as write_pixart
from tiny.qwen import write_qwen_3_vl as write_qwen_3_vl
from tiny.qwen_image import write_qwen_image as write_qwen_image
from tiny.qwen_image import write_qwen_image_edit as write_qwen_image_edit
from tiny.sana import write_sana as write_sana
from tiny.stable_audio import write_stable_audio as write_stable_audio
from tiny.stable_audio_3 import write_stable_audio_3 as write_stable_audio_3
from tiny.stable_cascade import write_cascade_prior as write_cascade_prior
from tiny.stable_cascade import write_stable_cascade as write_stable_cascade
from tiny.stable_diffusion import write_stable_diffusion as write_stable_diffusion
from tiny.stable_diffusion_3 import write_stable_diffusion_3 as write_stable_diffusion_3
from tiny.stable_diffusion_xl import write_stable_diffusion_xl as write_stable_diffusion_xl
from tiny.stable_video_diffusion import (
    write_stable_video_diffusion as write_stable_video_diffusion,
)
from tiny.unclip import write_stable_unclip as write_stable_unclip
from tiny.unclip import write_unclip as write_unclip
from tiny.upscale import write_latent_upscale as write_latent_upscale
from tiny.upscale import write_stable_diffusion_upscale as write_stable_diffusion_upscale
from tiny.wan import write_wan as write_wan
from tiny.z_image import write_z_image as write_z_image
