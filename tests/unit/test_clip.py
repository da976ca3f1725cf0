"""CLIP and its relatives, against open_clip's own preprocessing, encoders and zero-shot classifier."""

import json
from typing import Any

import numpy as np
import open_clip
import pytest
import torch
from fake_clips import FakeClip, settings
from open_clip.transform import PreprocessCfg, image_transform_v2
from open_clip.zero_shot_classifier import build_zero_shot_classifier
from pictures import check_colour, check_pixels, load, pictures
from PIL import Image
from reference_weights import save
from tokenizers import Tokenizer, models, pre_tokenizers

from braid import weights
from braid.errors import ConfigError, WeightsError
from braid.extractors.clip import Clip
from braid.extractors.pooling import average, pool
from braid.extractors.prompts import texts
from braid.weights import clip as table

ARCHITECTURE = "ViT-B-32-quickgelu"
OPENAI = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
SMALL = {
    "embed_dim": 24,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
"""A CLIP of two layers."""
RESNET = {**SMALL, "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "patch_size": None}}
SIGLIP = {
    **SMALL,
    "custom_text": True,
    "init_logit_bias": -10,
    "text_cfg": {
        **SMALL["text_cfg"],
        "context_length": 16,
        "vocab_size": 64,
        "hf_tokenizer_name": "somebody/words",
        "tokenizer_kwargs": {"clean": "canonicalize"},
        "no_causal_mask": True,
        "pool_type": "last",
    },
}
DESCRIPTION = table.description
AWKWARD = ["metro_station", 'a "quoted" name', "it's {class}", "{}", "straße", "地下鉄"]


@pytest.fixture(scope="module", autouse=True)
def small_architectures(tmp_path_factory):
    """Let open_clip know the small architectures."""
    folder = tmp_path_factory.mktemp("architectures")
    variants = {
        "small": SMALL,
        "small-quickgelu": {**SMALL, "quick_gelu": True},
        "small-resnet": RESNET,
        "small-siglip": SIGLIP,
    }
    for name, config in variants.items():
        (folder / f"{name}.json").write_text(json.dumps(config))
    open_clip.add_model_config(folder)
    with pytest.MonkeyPatch.context() as patch:  # the weights read open_clip's own files, without it
        patch.setattr(table, "description", lambda name: open_clip.get_model_config(name) or {})
        yield


def make(architecture="small", **changes) -> Any:
    return Clip(settings("clip", architecture=architecture, **changes))


def reference_of(name, file) -> Any:
    """Return open_clip's own network with the weights of a file."""
    return open_clip.create_model(name, pretrained=str(file), pretrained_text=False).eval()


@pytest.fixture(scope="module")
def official(tmp_path_factory):
    """The reference, and a file as OpenAI has it: the parameters and three constants."""
    network = open_clip.create_model(ARCHITECTURE, pretrained_text=False).eval()
    file = tmp_path_factory.mktemp("weights") / "ViT-B-32.pt"
    state = torch.load(save(network, file), weights_only=True)
    constants = {"input_resolution": 224, "context_length": 77, "vocab_size": 49408}
    torch.save({**state, **{name: torch.tensor(value) for name, value in constants.items()}}, file)
    return network, file


@pytest.fixture(scope="module")
def extractor(official):
    return Clip(settings("clip", weights=str(official[1]), frames=3, classes=AWKWARD))


def test_agrees_with_open_clip(extractor, official):
    network, _ = official
    preprocess: Any = image_transform_v2(PreprocessCfg(**network.visual.preprocess_cfg), is_train=False)
    clip = FakeClip(seconds=2)
    views = extractor.views(clip, 0.0, 2.0)
    assert [int(view.indices[0]) for view in views] == [8, 25, 41]  # on screen at 1/3, 1 and 5/3 s
    images = torch.stack([preprocess(Image.fromarray(clip.pictures[i])) for i in (8, 25, 41)])
    loaded = torch.stack([extractor.load(clip, view) for view in views])
    torch.testing.assert_close(loaded, images, rtol=0, atol=0)
    with torch.inference_mode():
        unit = network.encode_image(images, normalize=True)
        words = network.encode_text(open_clip.get_tokenizer(ARCHITECTURE)(AWKWARD), normalize=True)
        expected = network.logit_scale.exp() * unit @ words.T
        tokens, logits = extractor.forward(loaded)
    torch.testing.assert_close(tokens, unit, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits, expected, rtol=1e-5, atol=1e-5)
    mean = unit.mean(dim=0)
    torch.testing.assert_close(
        torch.from_numpy(pool(tokens.numpy(), ["mean"], extractor.normalised)), mean / mean.norm(), rtol=1e-5, atol=1e-6
    )


def test_pixels_and_statistics(extractor):
    check_pixels(extractor, image_transform_v2(PreprocessCfg(), is_train=False))
    check_colour(extractor, *OPENAI)


@pytest.mark.parametrize("mode", ["shortest", "squash", "longest"])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("size", [64, (48, 80)])
def test_pixels_of_every_resize_mode(mode, interpolation, size):
    extractor = make()
    configured = PreprocessCfg(size=size, resize_mode=mode, interpolation=interpolation, fill_color=7)
    transform = image_transform_v2(configured, is_train=False)
    extractor.follow(transform)
    check_pixels(extractor, transform, impossible=("strip",) if mode == "longest" else ())


@pytest.mark.parametrize(
    ("name", "mean", "mode", "interpolation"),
    [
        ("ViT-B-16-SigLIP2", 0.5, "squash", "bicubic"),
        ("PE-Core-B-16", 0.5, "squash", "bilinear"),
        ("MobileCLIP-S1", 0.0, "shortest", "bilinear"),
        ("RN50x4-quickgelu", OPENAI[0][0], "shortest", "bicubic"),
    ],
)
def test_the_transform_is_that_of_the_weights(name, mean, mode, interpolation):
    """open_clip gives a network without weights CLIP's own transform, whatever its weights were trained with."""
    extractor = make()
    extractor.architecture = name
    configured = extractor.preprocessing()
    assert (configured.mean[0], configured.resize_mode, configured.interpolation) == (mean, mode, interpolation)


@pytest.mark.parametrize("templates", ["raw", "ucf101", "sun397"])
def test_zero_shot_agrees_with_open_clip(templates, tmp_path):
    """The mean of the normalised embeddings of a class's texts, normalised, against open_clip's classifier."""
    file = save(open_clip.create_model("small"), tmp_path / "small.pt")
    extractor = make(weights=str(file), classes=["cat", "metro_station", "dog"], templates=templates)
    reference = reference_of("small", file)
    sentences = [text.replace("cat", "{}") for text in texts(["cat"], templates)[0]]
    picture = load(extractor, pictures()["photograph"])[None]
    with torch.inference_mode():
        classes = build_zero_shot_classifier(
            reference, open_clip.get_tokenizer("small"), ["cat", "metro_station", "dog"], sentences
        )
        expected = reference.logit_scale.exp() * reference.encode_image(picture, normalize=True) @ classes
        torch.testing.assert_close(extractor.forward(picture)[1], expected, rtol=1e-5, atol=1e-5)


def test_labels_may_have_other_names_in_the_text():
    picture = load(make(), pictures()["photograph"])[None]
    with torch.inference_mode():
        told = make(classes={"metro_station": "metro station", "dog": "dog"}).forward(picture)[1]
        named = make(classes=["metro station", "dog"]).forward(picture)[1]
        raw = make(classes=["metro_station", "dog"]).forward(picture)[1]
    torch.testing.assert_close(told, named, rtol=0, atol=0)
    assert (told[:, 0] - raw[:, 0]).abs() > 1e-3


def test_texts_are_read_once_and_in_float32(monkeypatch):
    extractor = make(classes=["cat", "dog"], templates="ucf101")
    read = []
    encode = extractor.network.encode_text
    monkeypatch.setattr(extractor.network, "encode_text", lambda words: read.append(len(words)) or encode(words))
    picture = load(extractor, pictures()["photograph"])[None]
    with torch.inference_mode():
        exact = extractor.forward(picture)
        with torch.autocast("cpu", torch.bfloat16):
            tokens, logits = extractor.forward(picture)
    assert sum(read) == 2 * 48
    assert tokens.dtype == logits.dtype == torch.float32
    torch.testing.assert_close(tokens.norm(dim=1), torch.ones(1))
    assert (tokens - exact[0]).abs().max() < 0.02
    assert (logits - exact[1]).abs().max() < 0.02 * float(extractor.network.logit_scale.exp())


def test_mean_of_logits_ranks_as_the_mean_embedding():
    """What `scores: logits` promises: the order of classes is that of the cosine to the item's embedding."""
    extractor = make(classes=[f"class {i}" for i in range(9)], frames=5)
    clip = FakeClip()
    batch = torch.stack([extractor.load(clip, view) for view in extractor.views(clip, 0.0, 2.0)])
    with torch.inference_mode():
        tokens, logits = extractor.forward(batch)
    cosines = extractor.classes.numpy() @ pool(tokens.numpy(), ["mean"], normalised=True)
    mean = average(logits.numpy(), "logits")
    np.testing.assert_allclose(mean / np.linalg.norm(mean), cosines / np.linalg.norm(cosines), rtol=1e-4, atol=1e-6)


def test_an_architecture_whose_published_weights_do_not_suit_takes_a_file_of_ones_own(tmp_path):
    """All published weights of RN50x4 want QuickGELU; one that was trained anew need not."""
    file = save(open_clip.create_model("RN50x4", pretrained_text=False), tmp_path / "mine.pt")
    extractor = make("RN50x4", weights=str(file))
    assert extractor.size == (288, 288)
    check_colour(extractor, *OPENAI)
    with pytest.raises(WeightsError, match="RN50x4-quickgelu"):
        Clip.check(settings("clip", architecture="RN50x4", weights="pretrained"))


def test_without_classes_there_are_no_scores():
    extractor = make()
    with torch.inference_mode():
        assert extractor.forward(load(extractor, pictures()["small"])[None])[1] is None


def test_a_text_that_would_be_cut_is_refused():
    with pytest.raises(ConfigError, match=r"'(word ?)+' is longer than the 77 tokens that small reads"):
        make(classes=["cat", "word " * 80])
    make(classes=["cat", "word " * 75])  # with its start and its end 77


@pytest.fixture
def siglip_tokenizer(tmp_path, monkeypatch):
    """Put a tokenizer of a few words where that of the repository `somebody/words` would be."""
    monkeypatch.setenv("BRAID_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("BRAID_OFFLINE", "1")
    words = ["<pad>", "<unk>", "metro", "station", "cat", "dog"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "somebody--words"
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    told = {"tokenizer_class": "PreTrainedTokenizerFast", "pad_token": "<pad>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(told))
    return folder


def test_siglip(siglip_tokenizer, tmp_path):
    """A learnt bias beside the scale, and a tokenizer whose files are in the weights folder."""
    file = save(open_clip.create_model("small-siglip", pretrained_text=False), tmp_path / "siglip.pt")
    extractor = make("small-siglip", weights=str(file), classes=["metro station", "cat", "dog"])
    reference = reference_of("small-siglip", file)
    words = torch.zeros(3, 16, dtype=torch.int64)
    words[0, :2], words[1, 0], words[2, 0] = torch.tensor([2, 3]), 4, 5
    torch.testing.assert_close(extractor.words[:, 0], words)
    picture = load(extractor, pictures()["photograph"])[None]
    with torch.inference_mode():
        image, text = reference.encode_image(picture, normalize=True), reference.encode_text(words, normalize=True)
        expected = reference.logit_scale.exp() * image @ text.T + reference.logit_bias
        torch.testing.assert_close(extractor.forward(picture)[1], expected, rtol=1e-5, atol=1e-5)


def test_siglips_tokenizer_is_a_companion_of_its_weights(monkeypatch, tmp_path):
    chosen = settings("clip", architecture="ViT-B-16-SigLIP2", weights="pretrained")
    assert table.official(chosen).companions == ()
    companions = table.official({**chosen, "classes": ["cat", "dog"]}).companions
    assert [each.file for each in companions] == [
        "timm--ViT-B-16-SigLIP2/tokenizer.json",
        "timm--ViT-B-16-SigLIP2/tokenizer_config.json",
    ]
    assert table.official({**settings("clip"), "classes": ["cat", "dog"]}).companions == ()
    monkeypatch.setenv("BRAID_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("BRAID_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"put tokenizer\.json into .*somebody--words"):
        make("small-siglip", classes=["cat", "dog"])
    make("small-siglip")  # embeddings need no words


@pytest.mark.parametrize("weights_of", ["random", "a file"])
def test_a_tokenizer_is_fetched_before_the_job_whatever_the_weights(weights_of, siglip_tokenizer, tmp_path):
    """Its receipt, an input of the job, is what features of these words are known by."""
    file = save(open_clip.create_model("small-siglip", pretrained_text=False), tmp_path / "siglip.pt")
    chosen = settings("clip", architecture="small-siglip", weights={"a file": str(file)}.get(weights_of, weights_of))
    assert not weights.is_fetched(chosen)  # embeddings need no words
    chosen["classes"] = ["cat", "dog"]
    assert weights.is_fetched(chosen)
    out = tmp_path / "receipt.json"
    weights.receipt(chosen, out)
    told = json.loads(out.read_text())
    files = [told["file"], *(each["file"] for each in told["companions"])]
    assert files == ["somebody--words/tokenizer.json", "somebody--words/tokenizer_config.json"]
    weights.check_receipt(chosen, out)
    with (siglip_tokenizer / "tokenizer_config.json").open("a") as other:
        other.write(" ")
    (siglip_tokenizer / "tokenizer_config.json.sha256").unlink()
    with pytest.raises(WeightsError, match=r"tokenizer_config\.json has the SHA-256 .* have changed"):
        weights.check_receipt(chosen, out)


@pytest.mark.parametrize("name", open_clip.list_models()[::20])
def test_what_is_known_of_an_architecture_without_open_clip(name):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(table, "description", DESCRIPTION)
        assert table.description(name) == open_clip.get_model_config(name)
        assert table.description("no such architecture") == {}


@pytest.mark.parametrize("name", ["small-quickgelu", "small-resnet"])
def test_other_architectures(name, tmp_path):
    """A vision transformer with QuickGELU and a ResNet with attention pooling, on files of their own."""
    file = save(open_clip.create_model(name), tmp_path / "weights.pt")
    extractor, reference = make(name, weights=str(file)), reference_of(name, file)
    picture = load(extractor, pictures()["photograph"])[None]
    with torch.inference_mode():
        expected = reference.encode_image(picture, normalize=True)
        torch.testing.assert_close(extractor.forward(picture)[0], expected, rtol=1e-5, atol=1e-6)


def test_quickgelu_is_not_mixed_up(official, tmp_path):
    """OpenAI's weights fit a network with GELU too, and give wrong numbers there."""
    file = save(open_clip.create_model("small"), tmp_path / "small.pt")
    right, wrong = make("small-quickgelu", weights=str(file)), make("small", weights=str(file))
    picture = load(right, pictures()["photograph"])[None]
    with torch.inference_mode():
        assert (right.forward(picture)[0] - wrong.forward(picture)[0]).abs().max() > 1e-3
    with pytest.raises(WeightsError, match="'ViT-B-32' does not have; name the architecture 'ViT-B-32-quickgelu'"):
        make("ViT-B-32", weights=str(official[1]))
    with pytest.raises(WeightsError, match="'ViT-B-32-quickgelu'"):
        weights.official(settings("clip", architecture="ViT-B-32", weights="pretrained", pretrained_tag="openai"))


def test_a_training_checkpoint_is_read(tmp_path):
    """open_clip's own training saves the state of the distributed network, half of it and more beside it."""
    network = open_clip.create_model("small")
    state = {f"module.{name}": value.half() for name, value in network.state_dict().items()}
    torch.save({"epoch": 32, "name": "mine", "state_dict": state}, tmp_path / "epoch_32.pt")
    loaded = make(weights=str(tmp_path / "epoch_32.pt")).network.state_dict()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(loaded[name], value.half().float(), rtol=0, atol=0)


def test_one_frame_is_the_one_in_the_middle(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "n_frames", 1)
    (view,) = extractor.views(FakeClip(seconds=2), 1.0, 2.0)
    assert view.indices.tolist() == [37] and (view.start_seconds, view.end_seconds) == (1.0, 2.0)


def test_frame_rate(extractor, monkeypatch):
    monkeypatch.setattr(extractor, "frame_rate", 5)
    assert [int(view.indices[0]) for view in extractor.views(FakeClip(), 0.0, 1.0)] == [2, 7, 12, 17, 22]
    assert len(extractor.views(FakeClip(), 0.0, 0.05)) == 1


def test_a_text_tower_that_cannot_be_fetched_is_a_sentence(monkeypatch):
    def create(*_, **__):
        raise OSError("We couldn't connect.\nCheck your connection.")

    monkeypatch.setattr(open_clip, "create_model", create)
    with pytest.raises(ConfigError, match=r"roberta-ViT-B-32 without .* \(We couldn't connect\.\); run this once"):
        make("roberta-ViT-B-32")


def test_unknown_architecture():
    with pytest.raises(ConfigError, match=r"'ViT-B-33'; near it are .*ViT-B-32"):
        make("ViT-B-33")
