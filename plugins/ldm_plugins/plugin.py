"""What this package offers, by name."""

from __future__ import annotations

from ldm_core.plugins.hookspecs import Register, hookimpl

ldm_api = ">=2,<3"
expected_failures = {
    "scheduler tcd: moments": "it is for networks that answer for the point that a step leaps to, "
    "which an x0 at the point where it is does not stand for",
    **{
        f"scheduler torchdiffeq:{method}: each_image_alone": "its steps are those that the worst "
        "image of a batch needs, within the tolerance"
        for method in ("adaptive_heun", "bosh3", "dopri5", "dopri8", "fehlberg2")
    },
    "scheduler dpm_adaptive: each_image_alone": "its steps are those that the worst image of a "
    "batch needs, within the tolerance",
}
check_options = {
    "converter cfg_parallel": {"devices": ["cpu:0", "cpu:1"]},
    "converter compile": {"backend": "eager"},
    "converter device_map": {"devices": ["cpu:0", "cpu:1"]},
    "converter whole_loop": {"backend": "eager"},
    "guidance composable": {"prompts": ["a blue square", "fog:-0.5"]},
    "attention first_of": {"kernels": ["native", "sliced"]},
    "scheduler switch": {"first": "euler", "then": "dpmpp_2m"},
    "metric fid": {"features": "random"},
    "metric kid": {"features": "random"},
    "metric precision": {"features": "random"},
    "metric recall": {"features": "random"},
    "spacing explicit": {"sigmas": [8.0, 4.0, 2.0, 1.0, 0.5]},
}

SCHEDULERS = (
    "churn",
    "consistency",
    "ddim",
    "ddpm",
    "deis",
    "dpm_2",
    "dpm_2_ancestral",
    "dpm_adaptive",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_3m",
    "dpmpp_3m_sde",
    "dpmpp_sde",
    "dpmpp_single",
    "er_sde",
    "euler",
    "euler_ancestral",
    "exp_heun_2_x0",
    "exp_heun_2_x0_sde",
    "gauss_legendre_2s",
    "gradient_estimation",
    "heun",
    "heunpp2",
    "ipndm",
    "ipndm_v",
    "lcm",
    "lms",
    "pndm",
    "radau_iia_2s",
    "res_2s",
    "res_3s",
    "res_5s",
    "res_multistep",
    "restart",
    "sa_solver",
    "seeds_2",
    "seeds_3",
    "switch",
    "tcd",
    "unipc",
)
SPACINGS = (
    "align_your_steps",
    "beta",
    "bong_tangent",
    "cosine",
    "ddim_uniform",
    "explicit",
    "exponential",
    "flow_log_snr",
    "flow_shift",
    "flow_times",
    "karras",
    "kl_optimal",
    "lcm",
    "leading",
    "linear_quadratic",
    "linspace",
    "log_snr",
    "quadratic",
    "sgm_uniform",
    "simple",
    "trailing",
)
GUIDANCE = (
    "adaptive",
    "adaptive_projected",
    "along_frames",
    "autoguidance",
    "by_network",
    "cfg_pp",
    "cfg_zero_star",
    "classifier",
    "classifier_free",
    "composable",
    "dynamic_threshold",
    "embedded",
    "modality",
    "multimodal",
    "none",
    "perturbed_attention",
    "renormed",
    "skip_layer",
    "smoothed_energy",
    "spatio_temporal",
)
ATTENTION = (
    "chunked",
    "first_of",
    "flash_attention",
    "flex",
    "native",
    "sage",
    "sliced",
    "xformers",
)
CONVERTERS = (
    "autoencoder",
    "cfg_parallel",
    "channels_last",
    "compile",
    "context_parallel",
    "cuda_graph",
    "device_map",
    "feature_cache",
    "freeu",
    "fused_qkv",
    "group_offload",
    "lora",
    "model_offload",
    "openvino",
    "prompt_cache",
    "quantize",
    "sequential_offload",
    "stored_weights",
    "text_cache",
    "tiny_decoder",
    "token_merging",
    "vae_slicing",
    "vae_tiling",
    "whole",
    "whole_loop",
)

METRICS = ("clip", "fid", "kid", "lpips", "ms_ssim", "precision", "psnr", "recall", "ssim")


@hookimpl
def ldm_schedulers(register: Register) -> None:
    for name in SCHEDULERS:
        register(name, f"ldm_plugins.schedulers.{name}:{name}")
    register("diffusers:", "ldm_plugins.schedulers.diffusers:from_diffusers")
    register("torchdiffeq:", "ldm_plugins.schedulers.torchdiffeq:torchdiffeq")


@hookimpl
def ldm_spacings(register: Register) -> None:
    for name in SPACINGS:
        register(name, f"ldm_plugins.spacings.{name}:{name}")


@hookimpl
def ldm_guidance(register: Register) -> None:
    for name in GUIDANCE:
        register(name, f"ldm_plugins.guidance.{name}:{name}")


@hookimpl
def ldm_conditioning(register: Register) -> None:
    register("audio", "ldm_plugins.conditioning.audio:audio")
    register("control", "ldm_plugins.conditioning.control:control")
    register("control_channels", "ldm_plugins.conditioning.control_channels:control_channels")
    register("decode_noise", "ldm_plugins.conditioning.decode_noise:decode_noise")
    register("duration", "ldm_plugins.conditioning.duration:duration")
    register("first_frame", "ldm_plugins.conditioning.first_frame:first_frame")
    register("frame_rate", "ldm_plugins.conditioning.frame_rate:frame_rate")
    register("image", "ldm_plugins.conditioning.image:image")
    register("image_embeddings", "ldm_plugins.conditioning.image_embeddings:image_embeddings")
    register("image_latents", "ldm_plugins.conditioning.image_latents:image_latents")
    register("image_prompt", "ldm_plugins.conditioning.image_prompt:image_prompt")
    register(
        "image_prompt_embeds",
        "ldm_plugins.conditioning.image_prompt_embeds:image_prompt_embeds",
    )
    register("keyframes", "ldm_plugins.conditioning.keyframes:keyframes")
    register("low_resolution", "ldm_plugins.conditioning.low_resolution:low_resolution")
    register("mask", "ldm_plugins.conditioning.mask:mask")
    register("masked_audio", "ldm_plugins.conditioning.masked_audio:masked_audio")
    register("picture_embedding", "ldm_plugins.conditioning.picture_embedding:picture_embedding")
    register("prompt_embeds", "ldm_plugins.conditioning.prompt_embeds:prompt_embeds")
    register("redux", "ldm_plugins.conditioning.redux:redux")
    register("reference", "ldm_plugins.conditioning.reference:reference")
    register("motion", "ldm_plugins.conditioning.motion:motion")
    register("regions", "ldm_plugins.conditioning.regions:regions")
    register("size", "ldm_plugins.conditioning.size:size")
    register("class_label", "ldm_plugins.conditioning.class_label:class_label")
    register("song", "ldm_plugins.conditioning.song:song")
    register("sound_text", "ldm_plugins.conditioning.sound_text:sound_text")
    register("target_class", "ldm_plugins.conditioning.target_class:target_class")
    register("text", "ldm_plugins.conditioning.text:text")
    register("upsampled_latents", "ldm_plugins.conditioning.upsampled_latents:upsampled_latents")
    register("upsampled_text", "ldm_plugins.conditioning.upsampled_text:upsampled_text")
    register("video", "ldm_plugins.conditioning.video:video")


@hookimpl
def ldm_attention(register: Register) -> None:
    for name in ATTENTION:
        register(name, f"ldm_plugins.attention.{name}:{name}")


@hookimpl
def ldm_denoisers(register: Register) -> None:
    register("clip_x0", "ldm_plugins.denoisers.clip_x0:clip_x0")


@hookimpl
def ldm_encoders(register: Register) -> None:
    register("autoencoder_dc", "ldm_plugins.autoencoders.autoencoder_dc:encode")
    register("autoencoder_kl", "ldm_plugins.autoencoders.autoencoder_kl:encode")
    register("autoencoder_kl_flux2", "ldm_plugins.autoencoders.autoencoder_kl_flux2:encode")
    register("autoencoder_kl_frame", "ldm_plugins.autoencoders.autoencoder_kl_frame:encode")
    register("autoencoder_kl_by_frame", "ldm_plugins.autoencoders.autoencoder_kl_by_frame:encode")
    register("autoencoder_kl_video", "ldm_plugins.autoencoders.autoencoder_kl_video:encode")
    register("autoencoder_tiny", "ldm_plugins.autoencoders.autoencoder_tiny:encode")
    register("ltx_2", "ldm_plugins.autoencoders.ltx_2:encode")
    register("mel", "ldm_plugins.autoencoders.mel:encode")
    register("oobleck", "ldm_plugins.autoencoders.oobleck:encode")
    register("pixels", "ldm_plugins.autoencoders.pixels:encode")
    register("paella", "ldm_plugins.autoencoders.paella:encode")
    register("same", "ldm_plugins.autoencoders.same:encode")
    register("super_resolution", "ldm_plugins.autoencoders.super_resolution:encode")
    register("vq", "ldm_plugins.autoencoders.vq:encode")


@hookimpl
def ldm_decoders(register: Register) -> None:
    register("autoencoder_dc", "ldm_plugins.autoencoders.autoencoder_dc:decode")
    register("autoencoder_kl", "ldm_plugins.autoencoders.autoencoder_kl:decode")
    register("autoencoder_kl_flux2", "ldm_plugins.autoencoders.autoencoder_kl_flux2:decode")
    register("autoencoder_kl_frame", "ldm_plugins.autoencoders.autoencoder_kl_frame:decode")
    register("autoencoder_kl_by_frame", "ldm_plugins.autoencoders.autoencoder_kl_by_frame:decode")
    register("autoencoder_kl_video", "ldm_plugins.autoencoders.autoencoder_kl_video:decode")
    register("autoencoder_tiny", "ldm_plugins.autoencoders.autoencoder_tiny:decode")
    register("ltx_2", "ldm_plugins.autoencoders.ltx_2:decode")
    register("mel", "ldm_plugins.autoencoders.mel:decode")
    register("oobleck", "ldm_plugins.autoencoders.oobleck:decode")
    register("pixels", "ldm_plugins.autoencoders.pixels:decode")
    register("paella", "ldm_plugins.autoencoders.paella:decode")
    register("same", "ldm_plugins.autoencoders.same:decode")
    register("super_resolution", "ldm_plugins.autoencoders.super_resolution:decode")
    register("vq", "ldm_plugins.autoencoders.vq:decode")


@hookimpl
def ldm_families(register: Register) -> None:
    register("chroma", "ldm_plugins.families.chroma:Chroma")
    register("flux_2", "ldm_plugins.families.flux_2:Flux2")
    register("animatediff", "ldm_plugins.families.animatediff:AnimateDiff")
    register("flux", "ldm_plugins.families.flux:Flux")
    register("hunyuan_video", "ldm_plugins.families.hunyuan_video:HunyuanVideo")
    register("ltx_2", "ldm_plugins.families.ltx_2:LTX2")
    register("ltx_video", "ldm_plugins.families.ltx_video:LTXVideo")
    register("pixart", "ldm_plugins.families.pixart:PixArt")
    register("cogvideox", "ldm_plugins.families.cogvideox:CogVideoX")
    register("ddpm", "ldm_plugins.families.ddpm:DDPM")
    register("dit", "ldm_plugins.families.dit:DiT")
    register("kolors", "ldm_plugins.families.kolors:Kolors")
    register("krea_2", "ldm_plugins.families.krea_2:Krea2")
    register("latent_diffusion", "ldm_plugins.families.latent_diffusion:LatentDiffusion")
    register(
        "latent_diffusion_text", "ldm_plugins.families.latent_diffusion_text:LatentDiffusionText"
    )
    register("qwen_image", "ldm_plugins.families.qwen_image:QwenImage")
    register("aura_flow", "ldm_plugins.families.aura_flow:AuraFlow")
    register("cogview_4", "ldm_plugins.families.cogview_4:CogView4")
    register("hidream", "ldm_plugins.families.hidream:HiDream")
    register("lumina_2", "ldm_plugins.families.lumina_2:Lumina2")
    register("sana", "ldm_plugins.families.sana:Sana")
    register("qwen_image_edit", "ldm_plugins.families.qwen_image_edit:QwenImageEdit")
    register("ace_step", "ldm_plugins.families.ace_step:AceStep")
    register("audioldm_2", "ldm_plugins.families.audioldm_2:AudioLDM2")
    register("stable_audio", "ldm_plugins.families.stable_audio:StableAudio")
    register("stable_audio_3", "ldm_plugins.families.stable_audio_3:StableAudio3")
    register("stable_cascade", "ldm_plugins.families.stable_cascade:StableCascade")
    register("stable_diffusion", "ldm_plugins.families.stable_diffusion:StableDiffusion")
    register("stable_unclip", "ldm_plugins.families.stable_unclip:StableUnclip")
    register("unclip", "ldm_plugins.families.unclip:Unclip")
    register("latent_upscale", "ldm_plugins.families.latent_upscale:LatentUpscale")
    register(
        "stable_diffusion_upscale",
        "ldm_plugins.families.stable_diffusion_upscale:StableDiffusionUpscale",
    )
    register("stable_diffusion_3", "ldm_plugins.families.stable_diffusion_3:StableDiffusion3")
    register("wan", "ldm_plugins.families.wan:Wan")
    register("stable_diffusion_xl", "ldm_plugins.families.stable_diffusion_xl:StableDiffusionXL")
    register(
        "stable_video_diffusion", "ldm_plugins.families.stable_video_diffusion:StableVideoDiffusion"
    )
    register("z_image", "ldm_plugins.families.z_image:ZImage")


@hookimpl
def ldm_converters(register: Register) -> None:
    for name in CONVERTERS:
        register(name, f"ldm_plugins.converters.{name}:{name}")


@hookimpl
def ldm_writers(register: Register) -> None:
    for name in ("flac", "gif", "jpg", "mkv", "mp4", "png", "wav", "webp", "webp_animation"):
        register(name, f"ldm_plugins.writers.{name}:{name}")


@hookimpl
def ldm_observers(register: Register) -> None:
    register("progress_bar", "ldm_plugins.observers.progress_bar:progress_bar")


@hookimpl
def ldm_metrics(register: Register) -> None:
    for name in METRICS:
        register(name, f"ldm_plugins.metrics.{name}:{name}")
