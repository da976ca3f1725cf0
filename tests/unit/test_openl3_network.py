"""OpenL3: Keras files, the front end of sound in closed form, the value range of pictures."""

import gzip

import h5py
import numpy as np
import pytest
import torch
from keras_files import layers, write
from PIL import Image as Pillow
from torch import nn

from braid import weights
from braid.errors import ConfigError, FeatureError, WeightsError
from braid.networks.openl3 import Audio, Image, Spectrogram, image_tensor, n_windows, windows
from braid.weights import keras


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def drawn(network: nn.Module) -> nn.Module:
    """Fill a network with numbers that differ everywhere."""
    for i, value in enumerate(network.parameters()):
        value.data = 0.05 * noise(*value.shape, seed=i)
    for i, (name, value) in enumerate(network.named_buffers()):
        if "running" in name:
            value.copy_(noise(*value.shape, seed=100 + i).abs() + 0.5)
    return network


@pytest.fixture(scope="module")
def audio():
    return layers(drawn(Audio()))


@pytest.mark.parametrize(
    "how", [{}, {"below": "model_weights"}, {"nested": "audio_model"}, {"first": 0}, {"first": 9}], ids=str
)
def test_a_keras_file(audio, tmp_path, how):
    write(tmp_path / "openl3.h5", audio, **how)
    state = keras.read(tmp_path / "openl3.h5")
    expected = drawn(Audio()).state_dict()
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        torch.testing.assert_close(state[name], value, rtol=0, atol=0)
    assert state["conv2d_3.weight"][5, 2, 0, 1] == audio["conv2d_3"]["kernel"][0, 1, 2, 5]


def test_a_compressed_keras_file_of_the_image_network(tmp_path):
    network = drawn(Image())
    write(tmp_path / "plain.h5", layers(network))
    packed = tmp_path / "openl3_image.h5.gz"
    packed.write_bytes(gzip.compress((tmp_path / "plain.h5").read_bytes(), 1))
    other = Image()
    weights.fill(other, weights.load(packed), packed)
    torch.testing.assert_close(other.state_dict(), network.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("suffix", [".h5", ".h5.gz"])
@pytest.mark.parametrize("content", [b"", b"<!DOCTYPE html>", "half"])
def test_a_broken_file_is_refused(audio, tmp_path, suffix, content):
    path = tmp_path / f"openl3{suffix}"
    write(tmp_path / "whole.h5", audio)
    whole = (tmp_path / "whole.h5").read_bytes()
    if suffix == ".h5.gz":
        whole = gzip.compress(whole, 1)
    path.write_bytes(whole[: len(whole) // 2] if content == "half" else content)
    with pytest.raises(WeightsError, match=r"openl3\.h5.* truncated or was not written by Keras"):
        keras.read(path)


def test_a_file_of_other_layers_is_refused(tmp_path):
    write(tmp_path / "melspectrogram.h5", {"melspectrogram_1": {"freq2mel": np.zeros((1025, 256), np.float32)}})
    with pytest.raises(WeightsError, match=r"holds melspectrogram_1/freq2mel of shape \(1025, 256\)"):
        keras.read(tmp_path / "melspectrogram.h5")
    with h5py.File(tmp_path / "foreign.h5", "w") as file:
        file["embedding"] = np.zeros(3)
    with pytest.raises(WeightsError, match="not written by Keras"):
        keras.read(tmp_path / "foreign.h5")


def test_the_audio_file_is_not_the_image_file(audio, tmp_path):
    write(tmp_path / "audio.h5", audio)
    with pytest.raises(WeightsError, match=r"audio\.h5 does not fit Image"):
        weights.fill(Image(), keras.read(tmp_path / "audio.h5"), tmp_path / "audio.h5")


@pytest.mark.parametrize(("input", "shape"), [("mel256", (256, 199)), ("mel128", (128, 199)), ("linear", (257, 197))])
def test_spectrogram(input, shape):
    """A tone of 3000 Hz is loudest where 3000 Hz is, at 0 dB whatever its volume; 80 dB below that is the floor."""
    sound = torch.sin(2 * torch.pi * 3000 * torch.arange(48_000) / 48_000)[None, None] + 0.1 * noise(1, 1, 48_000)
    sound[..., 30_000:] = 0
    spectrogram = Spectrogram(input)(torch.cat([sound, sound / 4]))
    assert spectrogram.shape == (2, 1, *shape)
    assert spectrogram.max() == 0 and spectrogram.min() == -80
    torch.testing.assert_close(spectrogram[0], spectrogram[1], rtol=0, atol=1e-4)
    loudest = int(spectrogram[0, 0, :, 99].argmax())
    if input == "linear":
        assert loudest == 3000 / 48_000 * 512
    else:
        n_mels = shape[0]
        edges = 700 * (10 ** (np.linspace(0, 2595 * np.log10(1 + 24_000 / 700), n_mels + 2) / 2595) - 1)
        assert edges[loudest] < 3000 < edges[loudest + 2]


def test_decibels_are_ten_times_the_logarithm_of_the_amplitude():
    """Half the amplitude is 3.01 dB less, not 6.02."""
    t = torch.arange(48_000) / 48_000
    tones = torch.sin(2 * torch.pi * 3000 * t) + 0.5 * torch.sin(2 * torch.pi * 9000 * t)
    spectrogram = Spectrogram("linear")(tones[None, None])[0, 0, :, 99]
    assert spectrogram[96] == pytest.approx(-10 * np.log10(2), abs=1e-3) and spectrogram[32] == pytest.approx(
        0, abs=1e-3
    )


def test_silence_is_loudest_everywhere():
    assert Spectrogram("mel256")(torch.zeros(1, 1, 48_000)).unique().tolist() == [0]


def test_the_spectrogram_is_float32_under_autocast():
    sound = 0.1 * noise(1, 1, 48_000)
    front_end = Spectrogram("mel128")
    with torch.autocast("cpu", torch.bfloat16):
        inside = front_end(sound)
    assert inside.dtype == torch.float32
    torch.testing.assert_close(inside, front_end(sound), rtol=0, atol=0)


def test_the_image_network_rectifies_its_second_convolution_before_batch_normalisation():
    """With a beta of -5 the output is negative there, which a rectifier after it would not let through."""
    network = Image().eval()
    seen = []
    for i in (2, 3, 4):
        nn.init.constant_(network.get_parameter(f"batch_normalization_{i}.bias"), -5.0)
        network.get_submodule(f"conv2d_{i}").register_forward_pre_hook(lambda _, x: seen.append(float(x[0].min())))
    with torch.inference_mode():
        network(0.1 * noise(1, 3, 224, 224))
    assert seen[0] == 0 and seen[1] < -4.9 and seen[2] == 0


@pytest.mark.parametrize(
    ("network", "shape", "size"),
    [
        (Audio("mel256", 512), (1, 48_000), 512),
        (Audio("mel128", 512), (1, 48_000), 512),
        (Audio("linear", 6144), (1, 48_000), 6144),
        (Audio("mel128", 6144), (1, 48_000), 6144),
        (Image(512), (3, 224, 224), 512),
        (Image(8192), (3, 224, 224), 8192),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_embedding(network, shape, size):
    inputs = 0.1 * noise(2, *shape)
    with torch.inference_mode():
        both = network.eval()(inputs)
        alone = network(inputs[1:])
    assert both.shape == (2, size)
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-5)


def test_a_small_embedding_is_the_maximum_of_a_large_one():
    """Flattened as row, column, channel, as Keras does."""
    small, large = Audio("mel256", 512).eval(), Audio("mel256", 6144).eval()
    large.load_state_dict(small.state_dict())
    sound = 0.1 * noise(1, 1, 48_000)
    with torch.inference_mode():
        torch.testing.assert_close(large(sound).unflatten(1, (4 * 3, 512)).amax(dim=1), small(sound))


def test_unknown_sizes():
    with pytest.raises(ConfigError, match="512, 6144"):
        Audio("mel256", 8192)
    with pytest.raises(ConfigError, match="mel256, mel128, linear"):
        Audio("mel64")


def test_windows():
    """10 s: half a second of silence first, 96 windows each 0.1 s; the last holds the last sample."""
    sound = np.arange(1, 480_001, dtype=np.float32)
    cut = windows(sound, 0.1)
    assert cut.shape == (96, 1, 48_000) and n_windows(480_000, 0.1) == 96
    np.testing.assert_array_equal(cut[0, 0], np.r_[np.zeros(24_000), sound[:24_000]])
    np.testing.assert_array_equal(cut[7, 0], sound[7 * 4800 - 24_000 :][:48_000])
    assert cut[-1, 0, -1] == sound[-1]


@pytest.mark.parametrize(
    ("samples", "center", "n"),
    [(48_000, False, 1), (48_001, False, 2), (24_000, True, 1), (24_001, True, 2), (1, True, 1)],
)
def test_no_sample_is_lost(samples, center, n):
    cut = windows(torch.ones(samples), 0.5, center)
    assert len(cut) == n == n_windows(samples, 0.5, center)
    seen = torch.cat([cut[0, 0], *(window[0, -24_000:] for window in cut[1:])])
    assert seen.sum() == samples


def test_sounds_without_windows():
    with pytest.raises(FeatureError, match="without a sample"):
        windows(np.zeros(0, np.float32))
    with pytest.raises(ConfigError, match="at least one sample"):
        windows(np.zeros(9, np.float32), 0.0)


@pytest.mark.parametrize("size", [(224, 224), (256, 340), (360, 640), (240, 230), (1, 1), (90, 160)])
def test_pictures_of_any_size_are_in_minus_one_to_one(size):
    """Not in [0, 1], nor divided by their brightest value."""
    frame = np.zeros((*size, 3), np.uint8)
    frame[..., 1], frame[..., 2] = 51, 255
    tensor = image_tensor(frame)
    assert tensor.shape == (3, 224, 224) and tensor.dtype == torch.float32
    torch.testing.assert_close(tensor, torch.tensor([-1, -0.6, 1])[:, None, None].expand(3, 224, 224))


def test_the_middle_is_cut_out_and_the_shorter_side_becomes_256():
    ramp = np.broadcast_to(np.arange(340, dtype=np.uint16)[None, :, None] // 2, (256, 340, 3)).astype(np.uint8)
    tensor = image_tensor(np.stack([ramp, ramp]))  # not resized
    assert tensor.shape == (2, 3, 224, 224)
    np.testing.assert_allclose((tensor[1, 0, 0] + 1) * 127.5, ramp[0, 58:282, 0], atol=1e-4)
    wide = image_tensor(ramp.repeat(2, axis=0).repeat(2, axis=1))  # resized by a half
    np.testing.assert_allclose((wide[0, 5] + 1) * 127.5, ramp[0, 58:282, 0], atol=1)


def test_pictures_are_resized_as_pillow_does():
    """openl3 up to 0.2 and its training resized with Pillow's antialiased bilinear interpolation of 8-bit values."""
    picture = np.random.default_rng(0).integers(0, 256, (45, 60, 3), np.uint8).repeat(8, axis=0).repeat(8, axis=1)
    expected = np.asarray(Pillow.fromarray(picture).resize((341, 256), Pillow.Resampling.BILINEAR))[16:240, 58:282]
    np.testing.assert_allclose((image_tensor(picture).permute(1, 2, 0) + 1) * 127.5, expected, atol=1.001)
