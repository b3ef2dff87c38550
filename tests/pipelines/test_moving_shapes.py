"""The `moving-shapes` world, its judge, and its training; the judge on videos that Pillow draws and
the world does not."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AnimateDiffPipeline

from drawn_shapes import picture
from ldm_core.errors import LdmError
from ldm_pipelines.moving_shapes import checker, network, scenes, training
from ldm_pipelines.moving_shapes.checker import read
from ldm_pipelines.moving_shapes.scenes import COLOURS, DIRECTIONS, Motion, MotionReading, motions
from ldm_pipelines.moving_shapes.world import draw_video
from ldm_pipelines.training.networks import build_text_encoder
from ldm_pipelines.training.tokenizer import build_tokenizer, words_of

ENDS = {"right": ((2, 19), (40, 19)), "left": ((40, 14), (2, 17)), "down": ((16, 1), (16, 39)),
        "up": ((25, 38), (22, 4))}  # fmt: skip
EVERY = [*motions(held_out=False), *motions(held_out=True)]


def drawn(shape: str, paint: str, ground: str, corners: list[tuple[int, int]]) -> np.ndarray:
    """A video whose frames show the shape, 22 pixels wide, at these corners (left, top)."""
    return np.stack(
        [picture(shape, 22, *corner, COLOURS[paint], COLOURS[ground]) for corner in corners]
    )


def path(begin: tuple[int, int], end: tuple[int, int], pace: float = 1.0) -> list[tuple[int, int]]:
    """Eight corners from begin to end; a pace above 1 begins slowly."""
    shares = np.linspace(0, 1, 8) ** pace
    between = np.rint([np.add(begin, share * np.subtract(end, begin)) for share in shares])
    return [(int(left), int(top)) for left, top in between]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("shape", scenes.SHAPES)
def test_the_checker_reads_what_pillow_draws(shape: str, direction: str) -> None:
    for paint, ground in (("red", "blue"), ("white", "black"), ("purple", "black"),
                          ("green", "black"), ("yellow", "white"), ("blue", "black")):  # fmt: skip
        video = drawn(shape, paint, ground, path(*ENDS[direction], pace=1.3))
        reading = MotionReading(paint, direction, ground, shape)
        assert read(video) == reading
        assert read(video.astype(np.float32) / 255) == reading
        noise = np.random.default_rng(0).normal(0, 12, video.shape)
        assert read(np.clip(video + noise, 0, 255).astype(np.uint8)) == reading


@pytest.mark.parametrize(
    "corners",
    [
        [(20, 20)] * 8,
        path((2, 2), (40, 40)),
        path((2, 20), (12, 20)),
        path((2, 20), (40, 20))[::2] + path((40, 20), (2, 20))[::2],
        [path((2, 20), (40, 20))[i] for i in (0, 4, 1, 5, 2, 6, 3, 7)],
    ],
    ids=["still", "slanting", "a third of the way", "there and back", "frames mixed up"],
)
def test_the_checker_reads_no_direction_where_none_of_the_four_is(
    corners: list[tuple[int, int]],
) -> None:
    assert read(drawn("circle", "red", "white", corners)) == MotionReading(
        "red", None, "white", "circle"
    )


def test_the_checker_reads_nothing_that_is_not_there_in_every_frame() -> None:
    video = drawn("square", "red", "white", path(*ENDS["right"]))
    video[3] = COLOURS["white"]
    assert read(video) == MotionReading(None, None, "white", None)
    assert read(np.full((8, 64, 64, 3), COLOURS["blue"], np.uint8)).background == "blue"
    with pytest.raises(LdmError, match=r"shape \(8, 64, 64, 3\), not \(4, 64, 64, 3\)"):
        read(video[:4])


def test_the_checker_shares_no_code_with_the_drawing() -> None:
    tree = ast.parse(Path(checker.__file__).read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in names if name and "ldm_pipelines" in name} == {
        "ldm_pipelines.moving_shapes.scenes"
    }


def test_the_world_draws_what_its_captions_say() -> None:
    rng = np.random.default_rng(4)
    for motion in EVERY:
        assert Motion.from_caption(motion.caption) == motion
        assert all(read(draw_video(motion, rng)).agrees(motion).values()), motion.caption
    assert len({motion.caption for motion in EVERY}) == 3 * 4 * 6


def test_every_word_is_trained_and_held_out() -> None:
    assert set(motions(held_out=True)).isdisjoint(motions(held_out=False))
    for held_out in (True, False):
        some = motions(held_out=held_out)
        assert {m.shape for m in some} == set(scenes.SHAPES)
        assert {m.colour for m in some} == set(scenes.PAINTS)
        assert {m.direction for m in some} == set(DIRECTIONS)
        assert {m.background for m in some} == set(scenes.BACKGROUNDS)
    assert 0.1 < len(motions(held_out=True)) / len(EVERY) < 0.2


@pytest.mark.parametrize(
    "caption", ["a red circle on a black background", "a red circle moving up on a blue background"]
)
def test_other_captions_are_refused(caption: str) -> None:
    with pytest.raises(LdmError, match="not worded like"):
        Motion.from_caption(caption)


def test_the_opposite_is_the_video_backwards() -> None:
    rng = np.random.default_rng(2)
    for motion in EVERY[::17]:
        backwards = draw_video(motion, rng)[::-1]
        assert all(read(backwards).agrees(training.opposite(motion)).values())


def test_a_training_writes_what_diffusers_opens(tmp_path: Path) -> None:
    settings = training.MovingSettings(
        autoencoder=training.SHAPES,
        out=tmp_path,
        steps=2,
        batch_size=2,
        pool_size=2,
        pool_steps=1,
        quiet_steps=1,
    )
    training.train(settings)
    pipe = AnimateDiffPipeline.from_pretrained(tmp_path / "model")
    assert pipe.scheduler.config.beta_end == training.SCHEDULE["beta_end"]
    assert pipe.tokenizer("a red circle moving up on a black background").input_ids[0] == 0
    begun, trained = network.build_network(0).state_dict(), pipe.unet.state_dict()
    assert begun.keys() == trained.keys()
    for name, weight in trained.items():
        assert torch.allclose(weight, begun[name], atol=2e-3), name
    place = "mid_block.motion_modules.0.transformer_blocks.0.pos_embed.pe"
    assert torch.equal(trained[place], begun[place].half().float())
    assert not torch.equal(trained["conv_in.weight"], begun["conv_in.weight"].half().float())


def test_a_batch_without_each_opposite_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LdmError, match="batch_size must be even, not 3"):
        training.MovingSettings(autoencoder=training.SHAPES, out=tmp_path, batch_size=3)


@pytest.mark.parametrize(("noisy", "share"), [(True, 0.65), (False, 0.3)])
def test_timesteps_are_spread_over_all_or_mostly_nearly_noise(noisy: bool, share: float) -> None:
    rng = np.random.default_rng(0)
    drawn = np.concatenate([training.draw_timesteps(rng, 8, 1000, noisy=noisy) for _ in range(500)])
    assert drawn.min() < 10
    assert drawn.max() == 999
    assert (drawn >= 700).mean() == pytest.approx(share, abs=0.02)


def test_the_loss_is_least_where_both_are_right_and_weighs_what_tells_them_apart() -> None:
    wrong = torch.randn(3, 4, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    alike, apart = torch.cat([wrong, wrong]), torch.cat([wrong, -wrong])
    square = float(wrong.square().mean())
    assert float(training.opposites_loss(torch.zeros_like(alike), 4.0)) == 0
    assert float(training.opposites_loss(alike, 4.0)) == pytest.approx(square)
    assert float(training.opposites_loss(apart, 4.0)) == pytest.approx(4 * square)


def test_frames_are_told_apart_and_look_at_themselves_at_first() -> None:
    """Of the cosine between the places of two frames, which in the sinusoids of long videos is
    0.9 for neighbours, nothing is left."""
    unet = network.build_network(3)
    block = unet.mid_block.motion_modules[0].transformer_blocks[0]
    states = torch.nn.functional.layer_norm(
        torch.randn(50, 8, 96, generator=torch.Generator().manual_seed(0)), (96,)
    )
    heads = [
        linear(block.pos_embed(states)).unflatten(-1, (4, 24)).transpose(1, 2)
        for linear in (block.attn1.to_q, block.attn1.to_k)
    ]
    looks = (heads[0] @ heads[1].transpose(-1, -2) / 24**0.5).softmax(-1)
    assert looks.diagonal(dim1=-2, dim2=-1).mean() > 0.6
    places = torch.nn.functional.normalize(block.pos_embed.pe[0], dim=-1)
    others = (places @ places.T)[~torch.eye(8, dtype=torch.bool)]
    assert others.abs().max() < 0.6


def test_the_encoder_tells_each_direction_from_the_others_as_it_does_colours() -> None:
    every = [motion.caption for motion in EVERY]
    tokenizer = build_tokenizer(words_of(every), training.MAX_TOKENS)
    encoder = build_text_encoder(tokenizer, seed=0)

    def apart(field: str, words: Iterable[str]) -> float:
        """The least difference of the states where the word is."""
        motion = Motion("circle", "red", "up", "black")
        captions = [replace(motion, **{field: word}).caption for word in words]
        place = next(i for i, word in enumerate(captions[0].split()) if word in words) + 1
        with torch.no_grad():
            states = encoder(tokenizer(captions, return_tensors="pt").input_ids).last_hidden_state
        return float(torch.pdist(states[:, place]).min())

    network.take_text_weights(encoder, tokenizer, training.SHAPES)
    colours = apart("colour", scenes.PAINTS)
    assert apart("direction", tuple(DIRECTIONS)) < 0.3 * colours
    network.tell_directions_apart(encoder, tokenizer, seed=0)
    assert apart("direction", tuple(DIRECTIONS)) > 0.6 * colours
