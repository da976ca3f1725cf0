"""What backbones read: where views lie, what flow becomes, and that training and use see the same."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from backbone_inputs import Fixed, clips, extent, settings, sound, video
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2.functional import resized_crop

from braid.backbones import crops
from braid.backbones.inputs import Clips, make
from braid.backbones.preset import preset
from braid.errors import ConfigError
from braid.extractors.logmel import LogMel
from braid.flow import transform
from braid.flow.picture import flow_picture

KINDS = ("rgb", "flow", "strided_flow", "flow_grey", "zeros_grey")
MIRRORED = torch.tensor([[1.0, 1, 1, 1]])


def middle(source: Any, clip: Clips) -> torch.Tensor:
    return source.sample(clip, *extent(source, clip), None)


def encoded(source: Any, clip: Clips, draws: torch.Tensor | None = None) -> torch.Tensor:
    return source.encode(middle(source, clip)[None], draws)


# Crops


@pytest.mark.parametrize("size", [(96, 128), (128, 96), (240, 320), (9, 200), (200, 9)])
def test_random_boxes_are_those_of_torchvision_for_the_same_random_numbers(size, monkeypatch):
    (height, width), picture, scale, ratio = size, torch.empty(3, *size), [0.25, 1.0], [0.75, 1.3333]
    ours = [crops.random_box(height, width, scale, ratio, np.random.default_rng(seed)) for seed in range(50)]
    for seed, box in enumerate(ours):
        rng = np.random.default_rng(seed)
        with monkeypatch.context() as patch:
            patch.setattr(torch.Tensor, "uniform_", lambda into, low, high, rng=rng: into.fill_(rng.uniform(low, high)))
            patch.setattr(torch, "randint", lambda _, high, size, rng=rng: torch.tensor([rng.integers(high)]))
            assert tuple(box[:4]) == RandomResizedCrop.get_params(picture, scale, ratio)
    assert len(set(ours)) > 10 or min(size) < 10


def test_a_part_of_a_picture_is_torchvisions_resized_crop():
    pictures = torch.randint(256, (2, 3, 60, 90), dtype=torch.uint8)
    box = crops.Box(7, 11, 40, 50, 60, 90)
    expected = resized_crop(pictures, 7, 11, 40, 50, [24, 24], antialias=True)
    torch.testing.assert_close(crops.part(pictures, box, 24), expected, rtol=0, atol=1)


def test_flow_is_resized_with_its_grid():
    flow = torch.tensor([3.0, 2.0]).view(1, 2, 1, 1).expand(1, 2, 60, 90)
    part = crops.part(flow, crops.Box(7, 11, 40, 50, 60, 90), 24)
    torch.testing.assert_close(part[0, :, 5, 5], torch.tensor([3.0 * 24 / 50, 2.0 * 24 / 40]))
    whole = crops.fixed(flow, 30, 24, 0, 1, "line")  # 60 × 90 becomes 30 × 45
    torch.testing.assert_close(whole[0, :, 5, 5], torch.tensor([1.5, 1.0]))


def test_a_box_is_the_same_place_on_a_coarser_grid():
    fine = torch.arange(80.0).expand(1, 1, 40, 80)
    coarse = fine[..., ::2, ::2]
    box = crops.Box(8, 16, 20, 40, 40, 80)
    assert torch.equal(box.cut(fine)[0, 0, 0, ::2], box.cut(coarse)[0, 0, 0])


# Time


def test_a_segment_starts_at_each_frame_of_its_part_that_leaves_room():
    """n - L + 1 starts in K parts, as in temporal segment networks: a view of 8 frames of 23 has 16."""
    source = video(clip_length=8, frame_rate=25.0, segments=3)
    times = np.arange(23) / 25
    starts = {
        tuple(np.floor(source.starts(times, 0, 23 / 25, Fixed(number)) * 25 + 1e-6).astype(int).tolist())
        for number in np.arange(0, 1, 1e-3)
    }
    tick = 16 / 3
    for k in range(3):
        got = sorted({each[k] for each in starts})
        assert got == list(range(math.floor(k * tick), math.ceil((k + 1) * tick)))
    centred = source.starts(times, 0, 23 / 25, None) * 25
    np.testing.assert_allclose(centred, (np.arange(3) + 0.5) * tick - 0.5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [2, 4, 30, 100])
def test_the_middle_is_the_view_of_an_extractor(kind, length):
    source = video(kind, clip_length=length)
    clip = clips(3, seconds=2.04)
    (view,) = source.views(clip, *extent(source, clip))
    assert torch.equal(middle(source, clip)[0], source.centred(clip, view))


def test_a_frame_is_the_middle_one_of_its_part():
    source = make(settings("timm", architecture="resnet18", segments=3, frames_an_epoch=5), {"views": 3} | MIDDLE_CROP)
    clip = clips(1)
    views = source.views(clip, *extent(source, clip))
    assert [view.indices.tolist() for view in views] == [[8], [25], [41]]  # of 50
    raw = middle(source, clip)
    assert torch.equal(raw, torch.stack([source.centred(clip, view) for view in views]))
    assert source.repeats == 5
    assert (
        len(make(settings("timm", architecture="resnet18"), {"views": "all"} | MIDDLE_CROP).views(clip, 0.4, 1)) == 15
    )


MIDDLE_CROP = {"placement": "even", "crops": 1, "crop_layout": "line"}


def test_random_views_stay_in_the_item():
    source = video("rgb", scale=[1, 1], ratio=[4 / 3, 4 / 3])
    clip = clips(2)
    clip.decoded.pictures[:] = np.arange(50, dtype=np.uint8)[:, None, None, None]
    seen = [source.sample(clip, 0.4, 1.6, np.random.default_rng(seed))[0, :, 0, 0, 0].tolist() for seed in range(200)]
    assert {each[0] for each in seen} == set(range(10, 21))  # four frames, five apart, of [10, 40)
    assert all(np.diff(each).tolist() == [5, 5, 5] for each in seen)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_segments_stay_in_an_item_with_hardly_room_for_a_view(n):
    source = video(clip_length=4, frame_rate=25.0, segments=6)
    clip = clips(2)
    clip.decoded.pictures[:] = np.arange(50, dtype=np.uint8)[:, None, None, None]
    seen = source.sample(clip, 0.4, 0.4 + n / 25, None)[:, :, 0, 0, 0]
    assert (seen.min(), seen.max()) == (10, 9 + n)


@pytest.mark.parametrize("kind", KINDS)
def test_a_short_item_holds_its_last_frame(kind):
    source = video(kind, clip_length=8)
    clip = clips(2, seconds=0.8)
    raw = middle(source, clip)[0]
    assert source.plan(clip, None, None).status == "short"
    if kind == "strided_flow":
        assert (raw[:4].abs().amax(dim=(1, 2, 3)) > 0.1).all() and (raw[4:] == 0).all()
    else:
        assert torch.equal(raw[-1], raw[-2]) and not torch.equal(raw[0], raw[1])


# Motion


def moving(pixels: tuple[int, int], mirrored: bool = False) -> Clips:
    """Return a clip of smooth noise that moves by whole pixels a frame, or the same mirrored."""
    clip = clips(0)
    noise = np.random.default_rng(5).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    canvas = cv2.GaussianBlur(noise, (0, 0), 4)
    canvas = ((canvas - canvas.min()) * (255 / np.ptp(canvas))).astype(np.uint8)
    across, down = pixels
    frames = [canvas[100 - i * down :][:96, 150 - i * across :][:, :128] for i in range(50)]
    clip.decoded.pictures = np.stack([frame[:, ::-1] if mirrored else frame for frame in frames])
    return clip


def test_flow_between_frames_of_a_view_is_their_motion():
    raw = middle(video("strided_flow", crop=96, frame_rate=12.5), moving((2, -1)))[0]  # every second frame
    torch.testing.assert_close(raw[..., 30:60, 30:60].mean(dim=(0, 2, 3)), torch.tensor([4.0, -2.0]), rtol=0.05, atol=0)


@pytest.mark.parametrize("encoding", ["two", "mean", "zero", "picture"])
def test_flow_of_mirrored_pictures_is_mirrored_flow(encoding):
    source = video("strided_flow", crop=96, frame_rate=12.5, encoding=encoding)
    theirs = encoded(source, moving((2, -1), mirrored=True))
    ours = encoded(source, moving((2, -1)), MIRRORED)
    inner = (..., slice(20, 76), slice(20, 76))
    torch.testing.assert_close(ours[inner].mean(dim=(-2, -1)), theirs[inner].mean(dim=(-2, -1)), rtol=0.02, atol=0.02)
    assert (ours - encoded(source, moving((2, -1)))).abs().amax() > 0.5


@pytest.mark.parametrize("encoding", ["two", "mean", "zero", "picture"])
def test_mirroring_stored_flow_negates_u(encoding):
    source, clip = video("flow", encoding=encoding, crop=24), clips(4)
    ours = encoded(source, clip, MIRRORED)
    clip.flow.flow = transform.mirror(torch.from_numpy(clip.flow.flow)).numpy()
    torch.testing.assert_close(ours, encoded(source, clip), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_mirrored_crop_is_the_mirrored_crop(kind):
    source = video(kind, views={"crops": 10, "crop_layout": "corners"})
    clip = clips(5)
    views = source.views(clip, *extent(source, clip))
    straight, mirrored = (source.encode(source.centred(clip, views[i])[None, None]) for i in (3, 8))
    expected = straight.flip(-1)
    if source.n_flow:
        expected[:, :, 0] *= -1
    torch.testing.assert_close(mirrored, expected)


def test_encodings_of_flow():
    clip = clips(0)
    clip.flow.flow[:, 0], clip.flow.flow[:, 1] = 12.0, -48.0  # 3 and -12 in crops of a quarter
    at = {
        kind: encoded(video("flow", encoding=kind, bound=6, crop=24), clip)[0, 0, :, 0, 9, 9]
        for kind in ("two", "mean", "zero")
    }
    torch.testing.assert_close(at["two"], torch.tensor([0.5, -1]))
    torch.testing.assert_close(at["mean"], torch.tensor([0.5, -1, -0.25]))
    torch.testing.assert_close(at["zero"], torch.tensor([0.5, -1, 0]))
    picture = encoded(video("flow", encoding="picture", bound=6, crop=24), clip)[0, 0, :, 0]
    colour = flow_picture(torch.tensor([3.0, -12]).view(2, 1, 1), 6)
    torch.testing.assert_close(picture, ((colour - 0.45) / 0.225).expand_as(picture))


def test_flow_with_grey_and_its_control_see_the_same_frame():
    both, control, clip = video("flow_grey", segments=2), video("zeros_grey", segments=2), clips(6)
    samples = [each.sample(clip, 0, 1.9, np.random.default_rng(7))[None] for each in (both, control)]
    x, y = both.encode(samples[0]), control.encode(samples[1])
    assert x.shape == y.shape == (1, 2, 3, 4, 32, 32)
    torch.testing.assert_close(x[:, :, 2], y[:, :, 2])
    assert (y[:, :, :2] == 0).all() and x[:, :, :2].std() > 0.01


def test_grey_is_that_of_itu_r_601():
    clip = clips(0)
    clip.decoded.pictures[:] = (10, 100, 250)
    grey = middle(video("zeros_grey"), clip)
    assert (grey == round(0.299 * 10 + 0.587 * 100 + 0.114 * 250)).all()


# What the network gets


def test_frames_have_the_statistics_of_the_official_weights():
    clip = clips(0)
    clip.decoded.pictures[:] = (51, 102, 255)
    ours = {
        "x3d": ([0.45] * 3, [0.225] * 3),
        "torchvision_video": ([0.43216, 0.394666, 0.37645], [0.22803, 0.22145, 0.216989]),
    }
    for kind, (mean, std) in ours.items():
        x = encoded(make(settings(kind, crop=32)), clip)[0, 0, :, 0, 5, 5]
        torch.testing.assert_close(x, (torch.tensor([0.2, 0.4, 1.0]) - torch.tensor(mean)) / torch.tensor(std))


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_augmented_without_random_numbers_or_with_those_of_none(kind):
    source, clip = video(kind, mirror=0), clips(8)
    draws = source.draw(np.random.default_rng(0))[None]
    plain = encoded(source, clip)
    assert torch.equal(encoded(source, clip, draws), plain)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoded(source, clip, draws), plain)
    assert plain.shape[2] == source.n_channels and plain.dtype == torch.float32


def test_random_numbers_of_the_augmentation():
    source = video(mirror=0.25, jitter=0.4)
    draws = torch.stack([source.draw(np.random.default_rng(i)) for i in range(2000)])
    assert abs(draws[:, 0].mean() - 0.25) < 0.04
    assert 0.6 <= draws[:, 1:].amin() < 0.61 and 1.39 < draws[:, 1:].amax() <= 1.4


def test_contradictions_are_refused():
    with pytest.raises(ConfigError, match=r"no colours that jitter 0\.4"):
        video("flow", jitter=0.4)
    with pytest.raises(ConfigError, match="short_side 20 must be at least the crop, 32 pixels"):
        video(short_side=20)
    with pytest.raises(ConfigError, match="placement blocks"):
        sound({"placement": "blocks"})


def test_what_is_not_chosen_is_what_the_weights_were_trained_on():
    unset: dict[str, Any] = {"crop": None, "clip_length": None, "frame_rate": None}
    assert preset(settings(architecture="m", **unset))[:4] == (16, 6.0, 224, 256)
    assert preset(settings("torchvision_video", **unset))[:4] == (16, 15.0, 112, 128)
    assert preset(settings("timm", architecture="tf_efficientnet_b1.ns_jft_in1k", crop=None))[:4] == (
        1,
        math.inf,
        240,
        272,
    )
    assert preset(settings(crop=64))[2:4] == (64, 64)


# Sound


def test_sound_is_the_spectrogram_of_the_middle():
    source, clip = sound(), clips(1, sample_rate=16000)
    middle_of_two_seconds = torch.from_numpy(clip.decoded.sound[14000:18000])[None]
    expected = LogMel(settings("logmel", sample_rate=16000, n_fft=512, hop_length=160, n_mels=40))(
        middle_of_two_seconds
    )
    torch.testing.assert_close(encoded(source, clip)[0], expected)
    (view,) = source.views(clip, *extent(source, clip))
    assert torch.equal(source.centred(clip, view), middle_of_two_seconds[0])
    assert len(sound({"views": "all"}).views(clip, 0, 2)) == 8


def test_random_sound_stays_in_the_item():
    source, clip = sound(), clips(1, sample_rate=16000)
    clip.decoded.sound = np.arange(32000, dtype=np.float32)
    firsts = [source.sample(clip, 0.5, 1.0, np.random.default_rng(i))[0, 0].item() for i in range(500)]
    assert 8000 <= min(firsts) < 8100 and 11900 < max(firsts) <= 12000


def test_short_sound_is_repeated():
    source, clip = sound(), clips(1, seconds=0.125, sample_rate=16000)
    (raw,) = middle(source, clip)
    assert torch.equal(raw[:2000], raw[2000:]) and len(raw) == 4000


def test_masks_of_sound_are_drawn_for_training_alone():
    source, clip = sound(time_masks=1, frequency_masks=1, frequency_mask_bands=10), clips(1, sample_rate=16000)
    plain = encoded(source, clip)
    draws = source.draw(np.random.default_rng(0))[None]
    assert draws.shape == (1, 4)
    masked = encoded(source, clip, draws)
    changed = (masked != plain)[0, 0, 0]
    assert 0 < changed.all(dim=1).sum() <= 10 and 0 < changed.all(dim=0).sum() <= 10
    assert torch.equal(encoded(source, clip, torch.zeros(1, 4)), plain)
    none = sound(time_masks=0, frequency_masks=0)
    assert torch.equal(encoded(none, clip, none.draw(np.random.default_rng(0))[None]), plain)


def test_streams_that_cannot_be_read_say_so():
    clip = clips(0, status="unreadable", reason="no moov")
    for source in (*map(video, KINDS), sound()):
        assert source.plan(clip, None, None)[1:] == ("unreadable", "no moov")
    single = clips(0, seconds=0.04)
    assert single.decoded.video == replace(single.decoded.video, status="ok")
    assert video("strided_flow").plan(single, None, None).status == "missing"
