"""Networks that are trained: what they start from, what they give, and what they cost."""

from typing import Any

import pytest
import timm
import torch
from fake_clips import settings as extractor_settings
from reference_weights import save
from torchvision import models

from braid import config
from braid.backbones.count import count
from braid.backbones.networks import Consensus, make
from braid.errors import ConfigError, WeightsError
from braid.extractors.registry import REGISTRY as EXTRACTORS
from braid.networks.x3d import X3D

SMALL = "test_resnet.r160_in1k"
SHAPES = {  # of a view that the smallest network of the type takes
    "x3d": (3, 8, 64, 64),
    "torchvision_video": (3, 8, 64, 64),
    "timm": (3, 1, 64, 64),
    "logmel": (1, 64, 94),
}


def settings(kind: str, **changes: Any) -> dict[str, Any]:
    """Return the settings of a small backbone: random weights, else the schema's defaults."""
    properties = config.types("backbones")[kind]["properties"]
    rules = {name: config.resolve(rule, "backbones") for name, rule in properties.items()}
    defaults = {name: rule["default"] for name, rule in rules.items() if "default" in rule}
    small = {"x3d": {"architecture": "tiny", "clip_length": 8, "crop": 64}, "torchvision_video": {}}
    return {"type": kind, **defaults, "weights": "random", **small.get(kind, {"architecture": SMALL}), **changes}


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("kind", SHAPES)
@pytest.mark.parametrize("segments", [1, 3])
def test_every_type_learns(kind, segments):
    """Logits of items, embeddings and steps of views, all finite; every parameter has a gradient."""
    shape = SHAPES[kind]
    network = make(settings(kind, segments=segments), shape[0], 5)
    x = noise(2, segments, *shape)
    embedding, steps = network.features(x[:, 0])
    assert embedding.ndim == 2 and steps.ndim == 3 and len(embedding) == len(steps) == 2
    assert not network.training
    torch.testing.assert_close(network(x), network(x.flip(0)).flip(0), rtol=1e-3, atol=1e-4)
    logits = network.train()(x)
    assert logits.shape == (2, 5) and logits.isfinite().all()
    logits.square().sum().backward()
    assert [name for name, value in network.named_parameters() if value.grad is None] == []


@pytest.mark.parametrize("kind", SHAPES)
def test_weights_come_from_the_seed_alone(kind):
    first = make(settings(kind, seed=3), 1 if kind == "logmel" else 2, 5).state_dict()
    torch.manual_seed(99)
    again = make(settings(kind, seed=3), 1 if kind == "logmel" else 2, 5).state_dict()
    other = make(settings(kind, seed=4), 1 if kind == "logmel" else 2, 5).state_dict()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_steps_are_the_map_that_pooling_averages():
    network = make(settings("torchvision_video"), 3, 5)
    embedding, steps = network.features(noise(2, 3, 8, 64, 64))
    assert steps.shape == (2, 1, 512)  # eight frames, halved three times
    torch.testing.assert_close(steps.mean(dim=1), embedding)
    x3d = make(settings("x3d"), 3, 5)
    embedding, steps = x3d.features(noise(2, 3, 8, 64, 64))
    assert embedding.shape == (2, 1024) and steps.shape == (2, 8, 216)
    project = x3d.network.blocks[5].pool.post_conv
    torch.testing.assert_close(project(steps.mean(dim=1)[..., None, None, None]).relu().flatten(1), embedding)


def test_a_view_of_several_frames_is_their_mean():
    network = make(settings("timm"), 3, 5)
    x = noise(2, 3, 4, 64, 64)
    embedding, steps = network.features(x)
    for t in range(4):
        torch.testing.assert_close(steps[:, t], network.features(x[:, :, t : t + 1])[0])
    torch.testing.assert_close(embedding, steps.mean(dim=1))


@pytest.mark.parametrize(
    ("kind", "architecture", "shape"),
    [
        ("x3d", "xs", (3, 4, 160, 160)),
        ("torchvision_video", "r2plus1d_18", (3, 16, 112, 112)),
        ("torchvision_video", "s3d", (3, 14, 224, 224)),
    ],
)
def test_embeddings_are_those_of_the_extractor(tmp_path, kind, architecture, shape):
    """Of the same file; and its classes, of another number, are new."""
    official = X3D(architecture, 6) if kind == "x3d" else models.get_model(architecture, num_classes=6)
    path = save(official, tmp_path / "official.pth")
    views = {"clip_length": shape[1]} if architecture == "s3d" else {}
    extractor = EXTRACTORS[kind].load()(extractor_settings(kind, architecture=architecture, weights=str(path), **views))
    network = make(
        settings(kind, architecture=architecture, weights=str(path), clip_length=shape[1], crop=shape[-1]), 3, 6
    )
    x = noise(1, *shape)
    tokens, logits = extractor.forward(x)
    with torch.inference_mode():
        embedding, _ = network.features(x)
        torch.testing.assert_close(embedding, tokens)
        torch.testing.assert_close(network.classify(embedding), logits)
    other = make(settings(kind, architecture=architecture, weights=str(path)), 3, 5)
    assert other.classify(torch.zeros(1, embedding.shape[1])).shape == (1, 5)


def test_consensus():
    scores = torch.tensor([[[1.0, 5.0], [3.0, -1.0]]])
    torch.testing.assert_close(Consensus("mean", 2)(scores), torch.tensor([[2.0, 2.0]]))
    torch.testing.assert_close(Consensus("max", 2)(scores), torch.tensor([[3.0, 5.0]]))
    weighted = Consensus("weighted", 2)
    torch.testing.assert_close(weighted(scores), torch.tensor([[2.0, 2.0]]))  # equal before anything is learnt
    assert weighted.weights is not None
    weighted.weights.data = torch.log(torch.tensor([3.0, 1.0]))
    torch.testing.assert_close(weighted(scores), torch.tensor([[1.5, 3.5]]))


@pytest.mark.parametrize("consensus", ["mean", "max", "weighted"])
def test_segments_that_are_equal_say_what_one_says(consensus):
    """Scores are combined before the softmax, each of a segment by itself."""
    network = make(settings("x3d", segments=3, consensus=consensus), 3, 5)
    x = noise(2, 1, 3, 8, 64, 64)
    one = network.classify(network.features(x[:, 0])[0])
    torch.testing.assert_close(network(x.expand(-1, 3, -1, -1, -1, -1)), one)


@pytest.fixture
def resnet(tmp_path):
    return str(save(models.get_model("r3d_18", num_classes=5), tmp_path / "r3d.pth"))


def started(path: str, n_channels: int, n_classes: int = 5):
    return make(settings("torchvision_video", architecture="r3d_18", weights=path), n_channels, n_classes)


def test_the_first_convolution_follows_the_channels(resnet):
    """A grey picture gives in one channel what it gave in three; u and v have the mean kernel each."""
    rgb, flow, grey = (started(resnet, n).network.stem[0].weight for n in (3, 2, 1))
    torch.testing.assert_close(grey, rgb.sum(dim=1, keepdim=True))
    torch.testing.assert_close(flow, rgb.mean(dim=1, keepdim=True).expand(-1, 2, -1, -1, -1))


def test_a_file_of_the_same_channels_and_classes_is_taken_as_it_is(resnet, tmp_path):
    network = started(resnet, 2)
    torch.save(network.network.state_dict(), tmp_path / "flow.pth")
    again = started(str(tmp_path / "flow.pth"), 2).state_dict()
    assert all(torch.equal(value, again[name]) for name, value in network.state_dict().items())


def test_only_the_classifier_is_new_where_classes_differ(resnet):
    given, new = started(resnet, 3).state_dict(), started(resnet, 3, 7).state_dict()
    changed = {name for name, value in given.items() if not torch.equal(value, new[name])}
    assert changed == {"network.fc.weight", "network.fc.bias"}
    assert new["network.fc.weight"].shape == (7, 512)
    fresh = make(settings("torchvision_video", architecture="r3d_18"), 3, 7)
    assert torch.equal(new["network.fc.weight"], fresh.network.fc.weight)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"layer4.1.conv2.0.weight": None}, "lacks layer4.1.conv2.0.weight"),
        ({"fc.bias": None}, "lacks fc.bias"),
        ({"fc.weight": (5, 511)}, "has fc.weight of shape"),
        ({"stem.0.weight": (64, 4, 3, 7, 7)}, "has stem.0.weight of shape"),
        ({"layer1.0.conv1.0.weight": (64, 32, 3, 3, 3)}, "has layer1.0.conv1.0.weight of shape"),
        ({"layer9.weight": (1,)}, "has layer9.weight, which the network does not"),
    ],
)
def test_any_other_difference_is_refused_by_name(resnet, tmp_path, change, sentence):
    state = torch.load(resnet, weights_only=True)
    for name, shape in change.items():
        state.pop(name, None)
        state |= {} if shape is None else {name: torch.zeros(shape)}
    torch.save(state, tmp_path / "changed.pth")
    with pytest.raises(WeightsError, match=sentence):
        started(str(tmp_path / "changed.pth"), 3)


@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_a_file_of_timm_has_its_kernels_and_classes_changed(tmp_path, n_channels):
    official = timm.create_model(SMALL, num_classes=11)
    path = save(official, tmp_path / "timm.pth")
    given = official.state_dict()
    ours = make(settings("timm", weights=str(path)), n_channels, 5).network.state_dict()
    first = "conv1.0.weight"
    wanted = {1: given[first].sum(1, keepdim=True), 2: given[first].mean(1, keepdim=True).expand(-1, 2, -1, -1)}
    torch.testing.assert_close(ours.pop(first), wanted.get(n_channels, given[first]))
    assert len(ours.pop("fc.weight")) == len(ours.pop("fc.bias")) == 5
    assert all(torch.equal(value, given[name]) for name, value in ours.items())


def test_a_network_of_two_classifiers_is_refused():
    with pytest.raises(ConfigError, match=r"deit_tiny_distilled.* does not end in one linear classifier"):
        make(settings("timm", architecture="deit_tiny_distilled_patch16_224"), 3, 5)


@pytest.mark.parametrize(
    ("architecture", "crop", "published", "tolerance"),
    [("xs", 160, 0.60e9, 0.01), ("s", 160, 1.96e9, 0.01), ("xs", 182, 0.91e9, 0.08)],
)
def test_x3d_costs_what_is_published(architecture, crop, published, tolerance):
    """The paper's numbers, at the crop of training, count what we count; PyTorchVideo's, at that of testing, more."""
    network = make(settings("x3d", architecture=architecture, clip_length=None, crop=None), 3, 400)
    costs = count(network, torch.zeros(1, 3, {"xs": 4, "s": 13}[architecture], crop, crop))
    assert costs["parameters"] == 3_794_274
    assert costs["multiply_adds"] == pytest.approx(published, rel=tolerance)
    assert costs["flops"] == 2 * costs["multiply_adds"]


def test_r2plus1d_costs_what_is_published():
    network = make(settings("torchvision_video"), 3, 400)
    costs = count(network, torch.zeros(1, 3, 16, 112, 112))
    assert costs["parameters"] == 31_505_325
    assert costs["multiply_adds"] == pytest.approx(40.52e9, rel=0.001)


def test_tiny_is_under_a_tenth_of_a_gflop():
    """At its own crop and length, however multiply-adds are counted."""
    network = make(settings("x3d", clip_length=None, crop=None), 3, 51)
    costs = count(network.train(), torch.zeros(1, 3, 8, 80, 80))
    assert costs["flops"] < 0.1e9 and costs["parameters"] < 1e6
    assert network.training
