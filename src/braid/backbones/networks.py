"""The networks behind the backbones: embeddings, time steps, logits, and a consensus over segments.

Letters: B items, S segments, C channels, T frames, h×w pixels, M mel bands, K classes, D numbers of an embedding,
T′ steps in time of the last layer, E numbers of a step.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import timm
import torch
from timm.models import PretrainedCfg, get_pretrained_cfg
from torch import Tensor, nn
from torch.nn import functional
from torchvision import models

from braid import weights
from braid.backbones.preset import preset
from braid.errors import ConfigError
from braid.extractors.timm_frames import as_timm_loads, first_convolutions
from braid.extractors.torchvision_video import NETWORKS
from braid.networks.x3d import X3D


class Backbone(nn.Module, ABC):
    """A network that is trained here.

    Parameters
    ----------
    network : nn.Module
        As its publisher has it, with a classifier of K classes; its parameters keep their official names.
    firsts : names of the weights that read the input, mostly one
    classifier : name of the layer of logits, linear in the embedding
    settings : mapping with `dropout`, and with `segments` and `consensus` where items are cut into segments
    """

    def __init__(self, network: nn.Module, firsts: Sequence[str], classifier: str, settings: Mapping[str, Any]) -> None:
        super().__init__()
        self.network: Any = network
        self.firsts, self.classifier = tuple(firsts), classifier
        self.dropout = nn.Dropout(settings["dropout"])
        self.consensus = Consensus(settings.get("consensus", "mean"), settings.get("segments", 1))

    @abstractmethod
    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings [B, D] and steps [B, T′, E] of views, [B, C, T, h, w] or of sound [B, 1, M, T].

        Steps are the last feature map, that which pooling makes the embedding of, as its means over space.
        """

    def classify(self, embedding: Tensor) -> Tensor:
        """Return the logits [B, K] of embeddings [B, D]."""
        layer = self.network.get_submodule(self.classifier)
        return functional.linear(self.dropout(embedding), layer.weight.flatten(1), layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits [B, K] of items of S segments, [B, S, C, T, h, w] or of sound [B, S, 1, M, T]."""
        logits = self.classify(self.features(x.flatten(0, 1))[0])
        return self.consensus(logits.unflatten(0, x.shape[:2]))


class Consensus(nn.Module):
    """What segments say together, from their scores before the softmax (TSN, Wang et al., ECCV 2016).

    Parameters
    ----------
    kind : {"mean", "max", "weighted"}
        Over segments, class by class; `weighted` is a mean by weights that are learnt, one a segment in the order of
        time, and that start equal, positive and of sum 1 at any time.
    segments : S
    """

    def __init__(self, kind: str, segments: int) -> None:
        super().__init__()
        self.kind = kind
        self.weights = nn.Parameter(torch.zeros(segments)) if kind == "weighted" else None

    def forward(self, logits: Tensor) -> Tensor:
        """Return [B, K] of scores [B, S, K]."""
        if self.weights is not None:
            return torch.einsum("bsk,s->bk", logits, self.weights.softmax(dim=0))
        return logits.amax(dim=1) if self.kind == "max" else logits.mean(dim=1)


class X3dBackbone(Backbone):
    """X3D, whose head averages over a whole view, of whatever length and crop it is trained on."""

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.network.features(x)


class VideoResNet(Backbone):
    """R(2+1)D, R3D or MC3 of torchvision."""

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        network = self.network
        x = network.layer4(network.layer3(network.layer2(network.layer1(network.stem(x)))))
        return x.mean(dim=(2, 3, 4)), _over_space(x)


class S3d(Backbone):
    """S3D of torchvision, the window of its pooling no larger than the map."""

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        x = self.network.features(x)
        window = tuple(map(min, self.network.avgpool.kernel_size, x.shape[2:]))
        return functional.avg_pool3d(x, window, stride=1).mean(dim=(2, 3, 4)), _over_space(x)


class Frames(Backbone):
    """A network of timm on single frames; a view of several is the mean of their embeddings, each of them a step."""

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        n_frames = x.shape[2]
        maps = self.network.forward_features(x.transpose(1, 2).flatten(0, 1))
        steps = self.network.forward_head(maps, pre_logits=True).unflatten(0, (-1, n_frames))
        return steps.mean(dim=1), steps


class Spectrogram(Backbone):
    """A convolutional network of timm on spectrograms as pictures of one channel."""

    def features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.network.forward_features(x)
        return self.network.forward_head(maps, pre_logits=True), maps.mean(dim=2).transpose(1, 2)


def make(settings: Mapping[str, Any], n_channels: int, n_classes: int) -> Backbone:
    """Return a backbone as training starts from it, on the CPU, in evaluation.

    With `weights: random` all parameters come from `seed`. Of official weights or a file all names and shapes must be
    those of the network, but for the following, and what does not fit is an error that names it:

    - The weight of the first convolution may have as many input channels as pictures or as its file: of RGB kernels a
      network for two channels gets the mean twice, as TSN starts on flow, and one for a single channel their sum, which
      sees a grey picture as it saw it in three equal channels.
    - The weight and bias of the classifier are left out where the file has another number of classes; new ones come
      from `seed`.

    Parameters
    ----------
    settings : mapping
        A complete entry of `backbones` in the config.
    n_channels, n_classes : C and K

    Raises
    ------
    ConfigError
        The network has no linear classifier to replace.
    WeightsError
        The file cannot be had, or is of another network.
    """
    from braid.backbones.registry import REGISTRY

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings["seed"])
        backbone: Backbone = REGISTRY[settings["type"]].load()(settings, n_channels, n_classes)
    if settings["weights"] == "random":
        print(f"{settings['type']}: random weights, seed {settings['seed']}")
    else:
        path = weights.find(settings)
        state = weights.load(path)
        if settings["type"] in ("timm", "logmel"):
            state = as_timm_loads(settings["architecture"], state)
        weights.fill(backbone.network, fitted(state, backbone), path)
        print(f"{settings['type']}: starts from the weights of {path}")
    for module in backbone.modules():  # convolutions are up to a third faster so, and nowhere slower
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            last = torch.channels_last if isinstance(module, nn.Conv2d) else torch.channels_last_3d
            module.weight.data = module.weight.data.contiguous(memory_format=last)
    return backbone.eval()


def fitted(state: Mapping[str, Tensor], backbone: Backbone) -> dict[str, Tensor]:
    """Return `state` with first convolution and classifier as `make` says; all else stays what it is."""
    own, state = backbone.network.state_dict(), dict(state)
    for key in backbone.firsts:
        if key in state:
            state[key] = _for_channels(state[key], own[key].shape[1])
    for key in (f"{backbone.classifier}.weight", f"{backbone.classifier}.bias"):
        if key in state and state[key].shape[1:] == own[key].shape[1:] and len(state[key]) != len(own[key]):
            state[key] = own[key]
    return state


def x3d(settings: Mapping[str, Any], n_channels: int, n_classes: int) -> Backbone:
    """Return an untrained X3D."""
    view = preset(settings)
    network = X3D(settings["architecture"], n_classes, n_channels, clip_length=view.clip_length, train_crop=view.crop)
    return X3dBackbone(network, ["blocks.0.conv.conv_t.weight"], "blocks.5.proj", settings)


def torchvision_video(settings: Mapping[str, Any], n_channels: int, n_classes: int) -> Backbone:
    """Return an untrained network of torchvision."""
    name = settings["architecture"]
    network = models.get_model(name, num_classes=n_classes)
    first = next(key for key, module in network.named_modules() if isinstance(module, nn.Conv3d))
    if n_channels != 3:
        _set_first(network, first, n_channels)
    family = S3d if name == "s3d" else VideoResNet
    return family(network, [f"{first}.weight"], NETWORKS[name].classifier, settings)


def timm_frames(settings: Mapping[str, Any], n_channels: int, n_classes: int) -> Backbone:
    """Return an untrained network of timm for frames."""
    return _timm(Frames, settings, n_channels, n_classes)


def logmel(settings: Mapping[str, Any], n_channels: int, n_classes: int) -> Backbone:
    """Return an untrained network of timm for spectrograms."""
    return _timm(Spectrogram, settings, n_channels, n_classes)


def _timm(family: type[Backbone], settings: Mapping[str, Any], n_channels: int, n_classes: int) -> Backbone:
    name = settings["architecture"]
    network = timm.create_model(name, in_chans=n_channels, num_classes=n_classes)
    classifier = (get_pretrained_cfg(name) or PretrainedCfg()).classifier
    if not isinstance(classifier, str) or not isinstance(network.get_submodule(classifier), nn.Linear):
        raise ConfigError(f"{name} of timm does not end in one linear classifier; choose another architecture")
    return family(network, first_convolutions(name), classifier, settings)


def _over_space(maps: Tensor) -> Tensor:
    """Return the means over space, [B, T′, E], of maps [B, E, T′, h′, w′]."""
    return maps.mean(dim=(3, 4)).transpose(1, 2)


def _for_channels(kernels: Tensor, n_channels: int) -> Tensor:
    """Return RGB kernels [O, 3, …] for one or two channels; what has another number is left as it is."""
    if kernels.shape[1] != 3 or n_channels not in (1, 2):
        return kernels
    if n_channels == 1:
        return kernels.sum(dim=1, keepdim=True)
    return kernels.mean(dim=1, keepdim=True).repeat_interleave(2, dim=1)


def _set_first(network: nn.Module, name: str, n_channels: int) -> None:
    """Put a convolution of the same kind with `n_channels` inputs in the place of `name`."""
    old: Any = network.get_submodule(name)
    new = nn.Conv3d(n_channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    if new.bias is not None:
        nn.init.zeros_(new.bias)
    network.set_submodule(name, new)
