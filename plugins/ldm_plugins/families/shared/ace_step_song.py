"""What ACE-Step's network reads of a piece and hears beside it."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ldm_core.contracts import Condition, ModelInfo, Part
from ldm_core.contracts.sound_abilities import Heard, Song
from ldm_core.errors import LdmWarning
from ldm_core.values import brief
from ldm_plugins.families.shared.tokens import ONE_AT_A_TIME

if TYPE_CHECKING:
    import torch
    from torch import Tensor

INSTRUCTIONS = {
    "text2music": "Fill the audio semantic mask based on the given conditions:",
    "cover": "Generate audio semantic tokens based on the given conditions:",
    "repaint": "Repaint the mask area based on the given conditions:",
    "extract": "Extract the {}track from the audio:",
    "lego": "Generate the {}track based on the audio context:",
    "complete": "Complete the input track{}:",
}
TEXT = "# Instruction\n{}\n\n# Caption\n{}\n\n# Metas\n{}<|endoftext|>\n"
LYRICS = "# Languages\n{}\n\n# Lyric\n{}<|endoftext|>"
"""How the networks learnt a piece (ACE-Step 1.5, arXiv:2602.00744)."""
TEXT_WINDOW, LYRICS_WINDOW = 256, 2048  # tokens
TIMBRE = 30
"""Seconds that are heard of a sound whose timbre is followed, or of silence."""
PIECE = 10  # seconds: from its beginning, its middle and its end


class AceStepSong:
    """The states of lyrics, of a timbre (of silence where none is followed) and of the text, one
    behind the other, key ``song`` (1, states, width), and what the network sees beside the sound,
    key ``context`` (1, places, 2·channels): another, or silence, and what is made anew.

    A piece has as many states as tokens, as the network attends to padding too.

    Args:
        parts: of the model, by name.
        device: where the condition goes.
    """

    def __init__(self, info: ModelInfo, parts: Mapping[str, Part], device: torch.device) -> None:
        self._parts = parts
        self._encoder = parts["text_encoder"]
        self._conditions = parts["condition_encoder"]
        self._rate = info.rate or 1.0
        self._a_second = self._rate / info.latents.axis("samples").stride  # places
        self._codes = info.sound_codes
        self._device = device

    def encode(
        self, song: Song, seconds: float, places: int, heard: Heard | None = None
    ) -> Condition:
        import torch

        heard = heard or Heard()
        about = (
            f"- bpm: {song.bpm or 'N/A'}\n"
            f"- timesignature: {(song.timesignature.strip() and song.timesignature) or 'N/A'}\n"
            f"- keyscale: {(song.keyscale.strip() and song.keyscale) or 'N/A'}\n"
            f"- duration: {int(seconds)} seconds\n"
        )
        encoder, part = self._encoder, self._conditions
        text = self._tokens(TEXT.format(instruction(song), song.prompt, about), TEXT_WINDOW)
        lyrics = self._tokens(LYRICS.format(song.vocal_language, song.lyrics), LYRICS_WINDOW)
        states = encoder.module(input_ids=text).last_hidden_state
        embedded = encoder.module.get_input_embeddings()(lyrics)
        joined, _ = part.module(
            text_hidden_states=states.to(part.device, part.dtype),
            text_attention_mask=torch.ones_like(text, dtype=torch.bool, device=part.device),
            lyric_hidden_states=embedded.to(part.device, part.dtype),
            lyric_attention_mask=torch.ones_like(lyrics, dtype=torch.bool, device=part.device),
            refer_audio_acoustic_hidden_states_packed=self._timbre(heard.reference).to(part.dtype),
            refer_audio_order_mask=torch.zeros(1, dtype=torch.long, device=part.device),
        )
        beside, made = self._beside(song.task, heard, places), self._made(heard, places)
        context = torch.cat([beside, made.to(beside).expand_as(beside)], dim=2)
        return {"song": joined.to(self._device), "context": context.to(self._device)}

    def without(self, condition: Condition) -> Condition:
        nothing = self._conditions.at_rest.null_condition_emb.to(condition["song"])
        return {**condition, "song": nothing.expand_as(condition["song"])}

    def _silence(self, places: int) -> Tensor:
        """Latents of silence, (1, places, channels)."""
        silence: Tensor = self._conditions.at_rest.silence_latent.to(self._conditions.device)
        return silence.repeat(1, max(math.ceil(places / silence.shape[1]), 1), 1)[:, :places]

    def _beside(self, task: str, heard: Heard, places: int) -> Tensor:
        """Latents of what the network hears, (1, places, channels): of a sound that is covered,
        what its codes say of it; silence where nothing is, or a part is painted anew."""
        import torch

        silence = self._silence(places)
        if heard.codes:
            return self._of_codes(heard.codes).to(silence)
        if heard.source is None:
            return silence
        latents = self._latents(heard.source)
        if task == "cover":
            latents = self._covered(latents)
        latents = latents.to(silence)
        if task == "repaint":
            latents = torch.where(self._made(heard, places) > 0, silence, latents)
        return latents

    def _made(self, heard: Heard, places: int) -> Tensor:
        """1 where the sound is made anew, 0 elsewhere, (1, places, 1)."""
        import torch

        begin, end = 0, places
        if heard.made is not None:
            begin, end = (int(min(time * self._a_second, places)) for time in heard.made)
            begin = min(begin, places - 1)
            end = max(end, begin + 1)
        made = torch.zeros(1, places, 1, device=self._conditions.device)
        made[:, begin:end] = 1
        return made

    def _timbre(self, sound: Tensor | None) -> Tensor:
        """Latents of the pieces of a sound of which the timbre is heard, (1, places,
        channels)."""
        import torch

        if sound is None:
            return self._silence(math.ceil(TIMBRE * self._a_second))
        whole, piece = int(TIMBRE * self._rate), int(PIECE * self._rate)
        sound = sound.repeat(1, math.ceil(whole / sound.shape[1]))
        count = sound.shape[1]
        begins = (0, count // 3, count - piece)
        heard = torch.cat([sound[:, begin : begin + piece] for begin in begins], dim=1)
        return self._latents(heard).to(self._conditions.device)

    def _latents(self, sound: Tensor) -> Tensor:
        """The mean of what the autoencoder makes of samples (channels, samples), (1, places,
        channels)."""
        part = self._parts["vae"]
        mean: Tensor = part.module.encode(
            sound[None].to(part.device, part.dtype)
        ).latent_dist.mode()
        return mean.transpose(1, 2)

    def _covered(self, latents: Tensor) -> Tensor:
        """Latents of a sound of which the codes alone are known."""
        import torch

        assert self._codes is not None  # a task that needs them was refused
        part, places = self._parts["audio_tokenizer"], latents.shape[1]
        silence = self._silence(-places % self._codes.places)
        whole = torch.cat([latents.to(silence), silence], dim=1)
        pieces = whole.reshape(1, -1, self._codes.places, whole.shape[2])
        states, _ = part.module(pieces.to(part.device, part.dtype))
        return self._of_states(states)[:, :places]

    def _of_codes(self, codes: tuple[int, ...]) -> Tensor:
        import torch

        quantizer = self._parts["audio_tokenizer"].at_rest.quantizer
        numbers = torch.zeros(1, len(codes), quantizer.num_quantizers, dtype=torch.long)
        numbers[0, :, 0] = torch.tensor(codes)
        numbers = numbers.to(quantizer.project_out.weight.device)
        return self._of_states(quantizer.get_output_from_indices(numbers))

    def _of_states(self, states: Tensor) -> Tensor:
        part = self._parts["audio_token_detokenizer"]
        latents: Tensor = part.module(states.to(part.device, part.dtype))
        return latents

    def _tokens(self, text: str, window: int) -> Tensor:
        with ONE_AT_A_TIME:
            tokenizer: Any = self._parts["tokenizer"].module
            tokens: Tensor = tokenizer(text, return_tensors="pt").input_ids
        if tokens.shape[1] > window:
            message = (
                f"what is said of the music has {tokens.shape[1]} tokens, and the network takes "
                f"{window} of it: its end is left out: {brief(text)}"
            )
            warnings.warn(message, LdmWarning, stacklevel=2)
        return tokens[:, :window].to(self._encoder.device)


def instruction(song: Song) -> str:
    """The task in the words in which the network learnt it, or in a person's, with a colon."""
    if song.instruction:
        return song.instruction.removesuffix(":") + ":"
    words, tracks = INSTRUCTIONS[song.task], " | ".join(name.upper() for name in song.tracks)
    if song.task == "complete":
        return words.format(f" with {tracks}" if tracks else "")
    return words.format(f"{tracks} " if tracks else "")
