"""Why a kind of model folder has no distance to Diffusers, by what it would start from."""

from __future__ import annotations

NONE = "none of Diffusers' pipelines of this model takes one."
"""Where no reason is given."""
SHOWN_ONLY = "it draws of a picture, which is in the next column, and of text at once."
NO_TEXT = "it takes none."
SAME = (
    "it begins from one by the same lines as the kind before it of its family, whose figure that "
    "is; no test measures it for this config."
)
NEXT = "folders of it that are shown one are a kind of their own, in a row near this one."
OTHER_CLASS = (
    "another class of Diffusers takes it, which is not opened: see [the reason](not-opened.md)."
)
SEEN = (
    "it looks at one by an IP-Adapter by the same lines as the kind before it, whose figure that "
    "is."
)
LCM = "Diffusers walks all steps there, whatever the strength: see where Diffusers errs."
FIRST_NETWORK = (
    "Diffusers' class opens such a folder and draws with the first of its two networks alone; both "
    "draw here."
)
OF_EIGHT = (
    "Diffusers' class draws noise for latents of 8 pixels a side, where this model's have 16, and "
    "fails."
)
PRIOR = (
    "StableCascadePriorPipeline takes one; of that model, embeddings of a text alone are made here."
)
WHY: dict[str, dict[str, tuple[str, ...]]] = {
    "picture": {
        SAME: ("SD v-prediction", "Flux schnell"),
        LCM: ("LCM",),
        NEXT: ("Wan 2.1", "Wan 2.2", "CogVideoX", "LTX-Video", "unCLIP", "Stable unCLIP of text"),
        OTHER_CLASS: ("HunyuanVideo", "CogView 4", "Sana"),
        SEEN: ("AnimateDiff by an adapter",),
        PRIOR: ("Stable Cascade",),
    },
    "video": {
        SAME: ("CogVideoX 1.5", "AnimateDiff by an adapter"),
        NEXT: ("LTX-Video", "LTX-Video from a frame"),
        OTHER_CLASS: ("LTX-2", "LTX-2, its second stage"),
        FIRST_NETWORK: ("Wan 2.2",),
        OF_EIGHT: ("Wan 2.2 5B",),
    },
}
"""By the input, the reasons other than `NONE`, each with the kinds that have it."""
