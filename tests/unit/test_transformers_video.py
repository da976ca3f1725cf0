"""Video models of transformers, against the library's own processors and networks, at small sizes."""

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from fake_clips import FakeClip, settings
from pictures import pictures
from safetensors.torch import load_file, save_file

from braid import config
from braid.errors import ConfigError, WeightsError
from braid.extractors.plan import View
from braid.extractors.transformers_video import TransformersVideo

SMALL: Any = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "id2label": {number: f"class {number}" for number in range(5)},
}
CONFIGS = {
    "videomae": transformers.VideoMAEConfig(
        **SMALL, image_size=32, num_frames=4, intermediate_size=64, decoder_hidden_size=16, decoder_num_hidden_layers=1,
        decoder_num_attention_heads=2,
    ),
    "vjepa2": transformers.VJEPA2Config(
        **SMALL | {"hidden_size": 48}, crop_size=32, frames_per_clip=4, num_pooler_layers=1, pred_hidden_size=24,
        pred_num_attention_heads=2, pred_num_hidden_layers=1,
    ),
    "timesformer": transformers.TimesformerConfig(
        **SMALL, image_size=32, num_frames=4, intermediate_size=64
    ),
    "vivit": transformers.VivitConfig(**SMALL, image_size=32, num_frames=4, intermediate_size=64),
}  # fmt: skip
PROCESSOR = {
    "do_resize": True,
    "size": {"shortest_edge": 36},
    "resample": 2,
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.485, 0.456, 0.406],
    "image_std": [0.229, 0.224, 0.225],
}
"""As in the files on Hugging Face, but for the pixels."""
KINDS = {
    f"{family} {task}": (family, models)
    for family in CONFIGS
    for task, models in (
        ("features", transformers.MODEL_MAPPING),
        ("classes", transformers.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING),
    )
}


def saved(folder, family, models, **processor):
    """Return a folder with a model's files, its numbers from a seed, and the model itself."""
    torch.manual_seed(1)
    model = models[type(CONFIGS[family])](CONFIGS[family]).eval()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape))
    transformers.utils.logging.disable_progress_bar()
    model.save_pretrained(folder)
    name = "video_preprocessor_config.json" if family == "vjepa2" else "preprocessor_config.json"
    (folder / name).write_text(json.dumps(PROCESSOR | processor), encoding="utf-8")
    return model


def extractor_of(folder, **changes):
    chosen = {"architecture": str(folder), "weights": str(folder / "model.safetensors"), **changes}
    return TransformersVideo(settings("transformers_video", **chosen))


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_transformers(kind, tmp_path, monkeypatch):
    """Pixels, embedding and logits; nothing is asked of any network."""
    family, models = KINDS[kind]
    model = saved(tmp_path, family, models)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("it went to the network"))
    extractor = extractor_of(tmp_path)
    processor = transformers.AutoVideoProcessor.from_pretrained(tmp_path)
    clip = FakeClip(seconds=2)
    clip.pictures = np.random.default_rng(0).integers(0, 256, (50, 45, 67, 3), dtype=np.uint8)
    view = extractor.views(clip, 0.0, 2.0)[0]
    assert view.indices.tolist() == [0, 3, 6, 10]  # 7.5 of 25 a second
    batch = extractor.load(clip, view)[None]
    pixels = processor(clip.pictures[view.indices], return_tensors="pt")[model.main_input_name]
    torch.testing.assert_close(batch.transpose(1, 2), pixels, rtol=0, atol=0)
    with torch.inference_mode():
        tokens, logits = extractor.forward(batch)
        expected = model(pixels, output_hidden_states=True)
    if "features" in kind:
        assert logits is None
        torch.testing.assert_close(tokens, expected.last_hidden_state.mean(dim=1), rtol=1e-5, atol=1e-6)
    else:
        torch.testing.assert_close(logits, expected.logits, rtol=1e-5, atol=1e-5)
        with torch.inference_mode():
            torch.testing.assert_close(model.classifier(tokens), logits, rtol=1e-5, atol=1e-5)
        assert tokens.shape == (1, CONFIGS[family].hidden_size) and expected.logits.shape == (1, 5)


def test_pixels_of_videomae_are_those_of_its_image_processor(tmp_path):
    """Its files name an image processor, as older releases of transformers had it."""
    saved(tmp_path, "videomae", transformers.MODEL_MAPPING, image_processor_type="VideoMAEImageProcessor")
    clip = FakeClip(seconds=1)
    ours = extractor_of(tmp_path).load(clip, View(0, 1, np.arange(4)))
    processor = transformers.VideoMAEImageProcessor.from_pretrained(tmp_path)
    pixels = processor(list(clip.pictures[:4]), return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(ours.transpose(0, 1), pixels[0], rtol=0, atol=0)


@pytest.mark.parametrize("family", CONFIGS)
def test_pixels_of_photographs_are_those_of_the_processor(family, tmp_path):
    saved(tmp_path, family, transformers.MODEL_MAPPING)
    extractor = extractor_of(tmp_path)
    processor = transformers.AutoVideoProcessor.from_pretrained(tmp_path)
    clip = FakeClip(seconds=1)
    for picture in pictures().values():
        clip.pictures = np.stack([picture, picture[::-1]])
        expected = processor(clip.pictures, input_data_format="channels_last", return_tensors="pt")
        (pixels,) = expected.values()
        ours = extractor.load(clip, View(0, 1, np.arange(2))).transpose(0, 1)
        torch.testing.assert_close(ours, pixels[0], rtol=0, atol=0)


def test_pretrained_files_come_from_the_weights_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAID_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("BRAID_OFFLINE", "1")
    chosen = settings("transformers_video", weights="pretrained")
    with pytest.raises(WeightsError, match=r"model\.safetensors is missing and BRAID_OFFLINE is set"):
        TransformersVideo(chosen)
    folder = tmp_path / "MCG-NJU--videomae-base-finetuned-kinetics"
    model = saved(folder, "videomae", transformers.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING)
    network = TransformersVideo(chosen).network
    torch.testing.assert_close(network["classifier"].weight, model.classifier.weight)


def test_weights_for_training_alone_are_left_out_and_told(tmp_path, capsys):
    saved(tmp_path, "videomae", transformers.MODEL_FOR_PRETRAINING_MAPPING)
    with torch.inference_mode():
        tokens, logits = extractor_of(tmp_path).forward(torch.zeros(1, 3, 4, 32, 32))
    assert tokens.shape == (1, 32) and logits is None
    printed = capsys.readouterr()
    assert "model.safetensors, of which it has no use for 21 (decoder." in printed.out and printed.err == ""


def test_a_folder_has_no_pretrained_weights_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    saved(Path("models/mine"), "videomae", transformers.MODEL_MAPPING)
    with pytest.raises(WeightsError, match=r"is a folder here.*`weights`, such as models/mine/model\.safetensors"):
        extractor_of(Path("models/mine"), weights="pretrained")


def test_weights_that_do_not_fit_are_named(tmp_path):
    saved(tmp_path, "videomae", transformers.MODEL_MAPPING)
    file = tmp_path / "model.safetensors"
    state = load_file(file)
    name = "encoder.layer.1.layernorm_after.weight"
    save_file({key: value for key, value in state.items() if key != name}, file)
    with pytest.raises(WeightsError, match=rf"in 1 of its parameters.*{name}"):
        extractor_of(tmp_path)
    save_file(state | {name: torch.zeros(3)}, file)
    with pytest.raises(WeightsError, match=rf"in 1 of its parameters.*{name}"):
        extractor_of(tmp_path)


def test_another_length_of_clips(tmp_path):
    """V-JEPA 2 turns its positions, so any length fits; TimeSformer has learnt them."""
    saved(tmp_path / "turned", "vjepa2", transformers.MODEL_MAPPING)
    extractor = extractor_of(tmp_path / "turned", clip_length=8, frame_rate=4)
    assert extractor.least_seconds == 2
    with torch.inference_mode():
        assert extractor.forward(torch.zeros(1, 3, 8, 32, 32))[0].shape == (1, 48)
    saved(tmp_path / "learnt", "timesformer", transformers.MODEL_MAPPING)
    with pytest.raises(WeightsError, match=r"time_embeddings; .* leave `clip_length` null"):
        extractor_of(tmp_path / "learnt", clip_length=8)


def test_random_weights_are_the_same_each_time(tmp_path):
    saved(tmp_path, "vivit", transformers.MODEL_MAPPING)
    first, second = (extractor_of(tmp_path, weights="random").network.state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    with pytest.raises(ConfigError, match="must be a folder that holds"):
        extractor_of(Path("MCG-NJU/videomae-base"), weights="random")


def test_code_beside_a_model_is_not_run(tmp_path):
    saved(tmp_path, "videomae", transformers.MODEL_MAPPING)
    (tmp_path / "config.json").write_text(
        json.dumps({"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.Theirs"}}), encoding="utf-8"
    )
    (tmp_path / "theirs.py").write_text("raise SystemExit('run')", encoding="utf-8")
    with pytest.raises(WeightsError, match=r"that transformers .* has itself"):
        extractor_of(tmp_path)


def test_other_crops_are_cut_beside_the_centre(tmp_path):
    saved(tmp_path, "videomae", transformers.MODEL_MAPPING)
    extractor = extractor_of(tmp_path, crops=3)
    clip = FakeClip(seconds=1)
    left, centre, right = (extractor.load(clip, View(0, 1, np.arange(4), number)) for number in range(3))
    # 96×128 become 36×48, and 32×32 are cut from them at columns 0, 8 and 16.
    torch.testing.assert_close(left[..., 8:], centre[..., :-8], rtol=0, atol=0)
    torch.testing.assert_close(centre[..., 8:], right[..., :-8], rtol=0, atol=0)


def test_a_processor_without_a_crop_has_one_view_of_a_picture(tmp_path):
    saved(tmp_path, "videomae", transformers.MODEL_MAPPING, do_center_crop=False, size={"height": 32, "width": 32})
    clip = FakeClip(seconds=1)
    assert extractor_of(tmp_path).load(clip, View(0, 1, np.arange(4))).shape == (3, 4, 32, 32)
    with pytest.raises(ConfigError, match="`crops` must be 1, got 3"):
        extractor_of(tmp_path, crops=3)


def test_a_missing_package_is_a_sentence_before_the_first_job(monkeypatch):
    monkeypatch.setattr(config, "find_spec", lambda name: None)
    raw = {
        "name": "tiny",
        "manifest": "clips.tsv",
        "extractors": {"x": {"type": "transformers_video"}},
        "schemes": {"x": {"type": "single", "features": ["x"]}},
    }
    with pytest.raises(ConfigError, match=r"needs the package transformers.*pip install '\.\[transformers\]'"):
        config.load(raw)
