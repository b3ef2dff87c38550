"""Which tests hold each kind of model folder to Diffusers' own pipeline, by what the kind takes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from without_distance import NO_TEXT, NONE, SHOWN_ONLY, WHY

INPUTS = ("text", "picture", "video", "sound")
NOTHING = "test_nothing_chosen_gives_what_diffusers_gives"
STARTS = "test_starts_of_diffusers.py::"
KEYED = "test_keyframes_give_what_diffusers_gives"
FRAME = "test_wan.py::test_frames_shown_give_what_diffusers_gives"
Cells = Mapping[str, "tuple[str, ...] | str"]
"""By the input: tests, as beginnings of their names, or why there are none."""


def of(file: str, *tests: str, **others: tuple[str, ...] | str) -> Cells:
    """The cells of a kind, of which the text's tests lie in one file."""
    return {"text": tuple(f"test_{file}.py::{test}" for test in tests or (NOTHING,)), **others}


def tests(file: str, *names: str) -> tuple[str, ...]:
    return tuple(f"test_{file}.py::{name}" for name in names)


def shown(file: str, *names: str) -> Cells:
    """The cells of a kind that draws of a picture."""
    return {"text": SHOWN_ONLY, "picture": tests(file, *names)}


STAGES = "test_both_stages_give_what_diffusers_gives"
REPAINTS = "test_it_repaints_a_part_as_in_diffusers"
KINDS: dict[str, Cells] = {
    "Stable Diffusion": of(
        "stable_diffusion",
        picture=tests(
            "image",
            "test_image_to_image_is_that_of_diffusers[SD-",
        )
        + tests("mask", "test_blending_is_that_of_diffusers_with_a_plain_network"),
    ),
    "SD v-prediction": of("stable_diffusion", f"{NOTHING}[v_prediction"),
    "SD inpainting": of(
        "stable_diffusion",
        "test_inpainting_is_that_of_diffusers",
        picture=tests("stable_diffusion", "test_inpainting_is_that_of_diffusers")
        + tests("mask", "test_an_inpainting_network_starts_part_way_as_in_diffusers"),
    ),
    "LCM": of("stable_diffusion", "test_guidance_told_to_the_network_is_that_of_diffusers"),
    "SDXL": of(
        "stable_diffusion_xl",
        picture=tests("image", "test_image_to_image_is_that_of_diffusers[SDXL-")
        + tests("stable_diffusion_xl", "test_inpainting_is_that_of_diffusers"),
    ),
    "SDXL refiner": shown("stable_diffusion_xl", "test_the_refiner_is_that_of_diffusers"),
    "LDM": of("latent_diffusion"),
    "LDM text": of("latent_diffusion_text"),
    "DiT": of("dit"),
    "PixArt alpha": of("pixart"),
    "PixArt sigma": of("pixart", "test_every_kind_of_folder_gives_what_diffusers_gives"),
    "SD 3": of(
        "stable_diffusion_3",
        NOTHING,
        "test_the_3_5_network_gives_what_diffusers_gives",
        picture=(
            *tests("image", "test_flow_models_start_from_pictures_as_in_diffusers"),
            f"{STARTS}test_a_flow_model_repaints[stable",
        ),
    ),
    "Flux dev": of(
        "flux",
        f"{NOTHING}_with_dev",
        picture=(
            f"{STARTS}test_a_flow_model_repaints[flux",
            f"{STARTS}test_flux_beside_a_controlnet_from_a_picture",
        ),
    ),
    "Flux schnell": of("flux", f"{NOTHING}_with_schnell"),
    "DDPM": of("ddpm"),
    "Chroma": of(
        "chroma",
        picture=tests(
            "chroma",
            "test_a_start_from_a_picture_is_that_of_diffusers",
            "test_repainting_is_that_of_diffusers",
        ),
    ),
    "Flux Kontext": shown(
        "flux_tasks",
        "test_kontext_sees_a_picture_as_in_diffusers",
        "test_repainting_after_a_picture_is_that_of_diffusers",
    ),
    "Flux Fill": shown("flux_tasks", "test_fill_takes_the_masked_picture_as_in_diffusers"),
    "Flux Control": shown(
        "flux_tasks",
        "test_a_control_picture_is_more_channels_as_in_diffusers",
        "test_a_controlled_start_from_a_picture_is_that_of_diffusers",
        "test_controlled_repainting_is_that_of_diffusers",
    ),
    "FLUX.2 dev": of(
        "flux_2",
        f"{NOTHING}[dev]",
        picture=tests("flux_2", "test_several_pictures_are_seen_as_in_diffusers[dev]"),
    ),
    "FLUX.2 klein": of(
        "flux_2",
        f"{NOTHING}[klein]",
        f"{NOTHING}[distilled]",
        picture=tests(
            "flux_2",
            "test_several_pictures_are_seen_as_in_diffusers[klein]",
            "test_repainting_is_that_of_diffusers",
        ),
    ),
    "Qwen-Image": of(
        "qwen_image",
        picture=tests("qwen_image", "test_it_starts_from_a_picture_as_in_diffusers", REPAINTS),
    ),
    "Qwen-Image-Edit": shown(
        "qwen_image_edit",
        "test_one_picture_gives_what_diffusers_gives[QwenImageEditPipeline",
        f"{REPAINTS}[QwenImageEditPipeline",
    ),
    "Qwen-Image-Edit Plus": shown(
        "qwen_image_edit",
        "test_one_picture_gives_what_diffusers_gives[QwenImageEditPlusPipeline",
        "test_several_pictures_give_what_diffusers_gives[QwenImageEditPlusPipeline",
    ),
    "Krea 2": of("krea_2"),
    "Krea 2 Turbo": of("krea_2", "test_turbo_gives_what_diffusers_gives"),
    "Wan 2.1": of(
        "wan", video=tests("wan", "test_a_start_from_a_video_gives_what_diffusers_gives")
    ),
    "Wan 2.1 from a frame": {"text": SHOWN_ONLY, "picture": (f"{FRAME}[2.1",)},
    "Wan 2.2": of("wan", "test_two_networks_give_what_diffusers_gives"),
    "Wan 2.2 from a frame": {
        "text": SHOWN_ONLY,
        "picture": (f"{FRAME}[2.2]", f"{FRAME}[2.2 first"),
    },
    "Wan 2.2 5B": of(
        "wan", "test_a_timestep_a_token_gives_what_diffusers_gives", picture=(f"{FRAME}[2.2 5B",)
    ),
    "CogVideoX": of("cogvideox", video=(f"{STARTS}test_a_video_from_a_video[cogvideox",)),
    "CogVideoX from a frame": shown(
        "cogvideox", "test_a_video_from_a_picture_gives_what_diffusers_gives"
    ),
    "CogVideoX 1.5": of(
        "cogvideox",
        "test_several_frames_as_one_token_give_what_diffusers_gives",
        picture=tests(
            "cogvideox", "test_a_video_from_a_picture_gives_what_diffusers_gives[several"
        ),
    ),
    "HunyuanVideo": of("hunyuan_video"),
    "LTX-Video": of("ltx_video"),
    "LTX-Video from a frame": {
        "text": SHOWN_ONLY,
        "picture": tests("ltx_video", "test_a_video_goes_on_from_a_picture"),
    },
    "LTX-Video 0.9.5": of(
        "ltx_video",
        "test_later_versions_give_what_diffusers_gives",
        picture=tests(
            "ltx_video",
            "test_a_picture_with_nothing_chosen_gives_what_diffusers_gives",
            f"{KEYED}[within]",
            f"{KEYED}[in part, and within]",
        ),
        video=tests(
            "ltx_video",
            f"{KEYED}[a prefix]",
            f"{KEYED}[a prefix in part]",
            f"{KEYED}[a piece within]",
            "test_a_start_from_a_video_gives_what_diffusers_gives",
        ),
    ),
    "LTX-2": of(
        "ltx_2",
        picture=tests("ltx_2", "test_a_video_goes_on_from_a_picture"),
    ),
    "LTX-2, its second stage": of(
        "second_stage",
        f"{STAGES}[text]",
        picture=tests("second_stage", f"{STAGES}[picture]"),
    ),
    "AnimateDiff": of(
        "animatediff",
        picture=tests(
            "image_prompt_elsewhere",
            "test_a_picture_is_looked_at_as_in_diffusers[AnimateDiff]",
            "test_a_video_sees_a_picture_where_its_mask_is_white_as_in_diffusers",
        ),
        video=(f"{STARTS}test_a_video_from_a_video[animatediff",),
    ),
    "AnimateDiff by an adapter": of("motion_adapters"),
    "Stable Video Diffusion": {
        "text": NO_TEXT,
        "picture": tests("stable_video_diffusion", NOTHING),
    },
    "Z-Image": of(
        "z_image",
        picture=tests(
            "z_image",
            "test_a_picture_to_start_from_gives_what_diffusers_gives",
            "test_inpainting_gives_what_diffusers_gives",
        ),
    ),
    "Kolors": of("kolors", picture=(f"{STARTS}test_kolors_from_a_picture",)),
    **{
        name: of("more_pictures", f"{NOTHING}[{name}-")
        for name in ("Lumina 2", "Sana", "AuraFlow", "CogView 4")
    },
    "ACE-Step": of(
        "ace_step",
        NOTHING,
        "test_what_is_sung",
        sound=tests("ace_step_sounds", "test_a_task_gives_what_diffusers_gives"),
    ),
    "AudioLDM 2": of("audioldm_2"),
    "Stable Audio": of("stable_audio", sound=(f"{STARTS}test_stable_audio_from_a_sound",)),
    "Stable Audio 3": of(
        "stable_audio_3",
        sound=tests(
            "stable_audio_3",
            "test_from_a_sound_all_of_the_way_is_that_of_diffusers",
            "test_the_rest_of_a_sound_is_heard_as_in_diffusers",
        ),
    ),
    "HiDream": of("more_pictures", f"{NOTHING}[HiDream-"),
    "Stable Cascade": of("stable_cascade"),
    "unCLIP": of("unclip", f"{NOTHING}[prior-"),
    "unCLIP of a picture": shown("unclip", f"{NOTHING}[picture-"),
    "Stable unCLIP": shown("unclip", "test_a_varied_picture_gives_what_diffusers_gives"),
    "Stable unCLIP of text": of("unclip", "test_a_text_alone_gives_what_diffusers_gives"),
    "SD upscaler": shown("upscalers", "test_pictures_are_those_of_diffusers[4]"),
    "SD latent upscaler": shown("upscalers", "test_pictures_are_those_of_diffusers[2]"),
}
for _asked, _reasons in WHY.items():
    for _reason, _kinds in _reasons.items():
        for _kind in _kinds:
            KINDS[_kind] = {**KINDS[_kind], _asked: _reason}


def cells() -> Iterator[tuple[str, str, tuple[str, ...] | str]]:
    """Each kind and input, with its tests or why there are none."""
    for kind, row in KINDS.items():
        for asked in INPUTS:
            yield kind, asked, row.get(asked, NONE)
