"""CLIP, against open_clip's own preprocessing and image encoder."""

import open_clip
import pytest
import torch
from fake_clips import FakeClip, settings
from PIL import Image
from reference_weights import save

from braid.errors import ConfigError
from braid.extractors.clip import Clip
from braid.extractors.pooling import pool

ARCHITECTURE = "ViT-B-32-quickgelu"


@pytest.fixture(scope="module")
def reference():
    model, _, preprocess = open_clip.create_model_and_transforms(ARCHITECTURE, pretrained_text=False)
    return model.eval(), preprocess


@pytest.fixture(scope="module")
def extractor(reference, tmp_path_factory):
    file = tmp_path_factory.mktemp("weights") / "ViT-B-32.pt"
    state = torch.load(save(reference[0], file), weights_only=True)
    torch.save({**state, "input_resolution": torch.tensor(224), "vocab_size": torch.tensor(49408)}, file)
    return Clip(settings("clip", weights=str(file), frames=3))


def test_agrees_with_open_clip(extractor, reference):
    model, preprocess = reference
    clip = FakeClip(seconds=2)
    views = extractor.views(clip, 0.0, 2.0)
    assert [int(view.indices[0]) for view in views] == [8, 25, 41]  # on screen at 1/3, 1 and 5/3 s
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[i])) for i in (8, 25, 41)])
    loaded = torch.stack([extractor.load(clip, view) for view in views])
    torch.testing.assert_close(loaded, images, rtol=0, atol=0)
    with torch.inference_mode():
        embeddings = model.encode_image(images)
        tokens = extractor.forward(loaded)[0]
    unit = embeddings / embeddings.norm(dim=1, keepdim=True)
    torch.testing.assert_close(tokens, unit, rtol=1e-5, atol=1e-6)
    mean = unit.mean(dim=0)
    torch.testing.assert_close(
        torch.from_numpy(pool(tokens.numpy(), ["mean"], extractor.normalised)), mean / mean.norm(), rtol=1e-5, atol=1e-6
    )


def test_one_frame_is_the_one_in_the_middle(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "n_frames", 1)
    (view,) = extractor.views(FakeClip(seconds=2), 1.0, 2.0)
    assert view.indices.tolist() == [37] and (view.start_seconds, view.end_seconds) == (1.0, 2.0)


def test_frame_rate(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "frame_rate", 5)
    assert [int(view.indices[0]) for view in extractor.views(FakeClip(), 0.0, 1.0)] == [2, 7, 12, 17, 22]
    assert len(extractor.views(FakeClip(), 0.0, 0.05)) == 1


def test_unknown_architecture():
    with pytest.raises(ConfigError, match="ViT-B-33"):
        Clip(settings("clip", architecture="ViT-B-33"))
