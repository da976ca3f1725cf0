"""Networks on single frames of torchvision, against torchvision."""

import re
from typing import Any

import pytest
import torch
from fake_clips import FakeClip, settings
from pictures import check_colour, check_pixels, load, pictures
from PIL import Image
from reference_weights import save, token
from torch import nn
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names
from torchvision.transforms.functional import normalize, pil_to_tensor

from braid.errors import ConfigError, WeightsError
from braid.extractors.torchvision_frames import AS_PUBLISHED, TorchvisionFrames

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TESTED = {
    "alexnet": ("classifier.5", 4096),
    "convnext_tiny": ("classifier.1", 768),
    "densenet121": ("flatten", 1024),
    "efficientnet_b0": ("flatten", 1280),
    "googlenet": ("flatten", 1024),
    "inception_v3": ("flatten", 2048),
    "maxvit_t": ("classifier.4", 512),
    "mnasnet0_5": ("mean", 1280),
    "mobilenet_v3_small": ("classifier.1", 1024),
    "regnet_y_400mf": ("flatten", 440),
    "resnet18": ("flatten", 512),
    "shufflenet_v2_x0_5": ("mean", 1024),
    "squeezenet1_1": ("features.12.cat", 512),
    "swin_t": ("flatten", 768),
    "vit_b_32": ("getitem_5", 768),
}
"""One network of each family, the node of its graph before the classifier, and how many numbers it has."""


def make(name, **changes):
    return TorchvisionFrames(settings("torchvision", architecture=name, **changes))


def default(name):
    weights: Any = models.get_model_weights(name)
    return weights.DEFAULT


@pytest.fixture(scope="module")
def resnet(tmp_path_factory):
    file = save(models.resnet18(), tmp_path_factory.mktemp("weights") / "resnet18-f37072fd.pth")
    return make("resnet18", weights=str(file)), file


@pytest.mark.parametrize("name", TESTED)
def test_every_family(name):
    """Tokens and scores are torchvision's, whatever the classifier looks like."""
    node, dimension = TESTED[name]
    extractor = make(name)
    picture = load(extractor, pictures()["small"])[None]
    nodes = {node: "token", get_graph_node_names(extractor.network, suppress_diff_warning=True)[1][-1]: "logits"}
    graph = create_feature_extractor(extractor.network, nodes, suppress_diff_warning=True)
    with torch.inference_mode():
        tokens, logits = extractor.forward(picture)
        expected = graph(picture)
    assert tokens.shape == (1, dimension) and logits.shape == (1, 1000)
    mean = expected["token"].mean(dim=(2, 3)) if expected["token"].ndim == 4 else expected["token"]
    torch.testing.assert_close(tokens, mean, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(logits, expected["logits"].flatten(1), rtol=1e-5, atol=1e-5)


def test_what_is_taken_from_torchvision_exists_for_every_network():
    for name in models.list_models(module=models):
        preset = default(name).transforms()
        assert len(preset.crop_size) == len(preset.resize_size) == 1
        assert preset.crop_size[0] <= preset.resize_size[0]
        if name.startswith("regnet"):  # cannot be made without memory; one is in the test above
            continue
        with torch.device("meta"):
            network = models.get_model(name, **AS_PUBLISHED.get(name, {}))
        last = [module for module in network.modules() if isinstance(module, nn.Linear | nn.Conv2d)][-1]
        assert last.weight.shape[0] == 1000, name


def test_agrees_with_torchvision(resnet):
    extractor, file = resnet
    reference = models.resnet18()
    reference.load_state_dict(torch.load(file, weights_only=True))
    flatten = create_feature_extractor(reference.eval(), ["flatten", "fc"])
    clip = FakeClip()
    (view,) = extractor.views(clip, 0.0, 2.0)
    picture = models.ResNet18_Weights.DEFAULT.transforms()(Image.fromarray(clip.pictures[view.indices[0]]))[None]
    with torch.inference_mode():
        expected = flatten(picture)
        logits = extractor.forward(picture)[1]
    torch.testing.assert_close(token(extractor, clip, view), expected["flatten"][0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(logits, expected["fc"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "convnext_tiny", "inception_v3", "efficientnet_b1"])
def test_pixels(name):
    """Crops of 224, 224, 299 and 240 of pictures of 256, 236, 342 and 255; bilinear, and bicubic for the last."""
    check_pixels(make(name), default(name).transforms())


def test_statistics_are_those_of_imagenet(resnet):
    check_colour(resnet[0], *IMAGENET)


def test_resnet152_has_the_transform_of_its_second_weights():
    assert default("resnet152").name == "IMAGENET1K_V2"


@pytest.mark.parametrize("name", ["googlenet", "inception_v3"])
def test_inception_turns_the_statistics_into_its_own(name):
    """Their files were trained with ±1: torchvision sets this when it loads them, and so must whoever loads them."""
    assert make(name).network.transform_input


def test_a_pass_that_failed_leaves_nothing_behind(resnet, monkeypatch):
    """Its memory is wanted for the next, smaller one."""
    extractor, _ = resnet
    batch = torch.randn(2, 3, 64, 64)
    with monkeypatch.context() as patch, pytest.raises(torch.OutOfMemoryError), torch.inference_mode():
        patch.setattr(extractor.network.fc, "forward", full)
        extractor.forward(batch)
    with torch.inference_mode():
        extractor.forward(batch[:1])
    assert extractor._read == []


def full(*_):
    raise torch.OutOfMemoryError


def test_crops(resnet):
    extractor, _ = resnet
    photograph = pictures()["photograph"]
    extractor.n_crops, extractor.crop_layout = 3, "line"
    left, middle, right = (load(extractor, photograph, number) for number in range(3))
    extractor.n_crops = 1
    picture = pil_to_tensor(Image.fromarray(photograph).resize((383, 256), Image.Resampling.BILINEAR))
    whole = normalize(picture / 255, list(IMAGENET[0]), list(IMAGENET[1]))
    assert whole.shape == (3, 256, 383)
    for got, start in ((left, 0), (middle, 80), (right, 159)):
        torch.testing.assert_close(got, whole[:, 16:240, start : start + 224], rtol=0, atol=0)


def test_files_of_another_time_are_read(tmp_path):
    """Old files lack the counters of batches, and those of DenseNet have dots that the names of today lack."""
    network = models.densenet121()
    state = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])", r"\1.\2", name): value
        for name, value in network.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    assert any("denselayer1.norm.1." in name for name in state)
    torch.save(state, tmp_path / "densenet121-a639ec97.pth")
    extractor = make("densenet121", weights=str(tmp_path / "densenet121-a639ec97.pth"))
    torch.testing.assert_close(extractor.network.state_dict(), network.state_dict(), rtol=0, atol=0)


def test_another_networks_file_is_refused(resnet):
    with pytest.raises(WeightsError, match=r"resnet18-f37072fd\.pth does not fit ResNet"):
        make("resnet34", weights=str(resnet[1]))


def test_unknown_architecture():
    with pytest.raises(ConfigError, match=r"'resnet151'.*resnet152"):
        make("resnet151")
    with pytest.raises(ConfigError, match="no image network 'r2plus1d_18'"):
        make("r2plus1d_18")
