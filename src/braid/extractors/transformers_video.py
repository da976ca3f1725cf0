"""Video models of the library transformers by name: VideoMAE (Tong et al., NeurIPS 2022), V-JEPA 2 (Assran et al.,
2025), TimeSformer, ViViT.

What a model is stands in three files of one folder, as Hugging Face keeps them: `config.json`, the processor's
`preprocessor_config.json` or `video_preprocessor_config.json`, and `model.safetensors`. Nothing else is read, no code
among them is run, and no network is used.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn

from braid import weights
from braid.errors import ConfigError, WeightsError
from braid.extractors.base import build
from braid.extractors.crops import crop
from braid.extractors.video import VideoExtractor

CLIP_LENGTH = ("num_frames", "frames_per_clip")
"""What the length of a clip is called in a config."""
LOCAL = {"local_files_only": True, "trust_remote_code": False}
AS_IS = {"do_resize": False, "do_center_crop": False, "do_rescale": False, "do_normalize": False}


class TransformersVideo(VideoExtractor):
    """Tokens are the mean of the last hidden state over its positions, a class token among them where there is one.

    A model with a classifier gives what that reads, pooled its own way, and logits.

    Parameters
    ----------
    settings : mapping
        `architecture`, `weights`, `frame_rate` and what `VideoExtractor` reads. A `clip_length` replaces the one in
        the config; learnt positions that it does not fit are refused with the name of the parameter.
    """

    def __init__(self, settings: Mapping[str, Any]) -> None:
        transformers.utils.logging.set_verbosity_error()
        transformers.utils.logging.disable_progress_bar()
        folder = _folder(settings)
        config, processor = _read(folder)
        frames = next((name for name in CLIP_LENGTH if hasattr(config, name)), None)
        if frames is None:
            raise ConfigError(f"{folder} holds a {config.model_type}, which does not read clips of a fixed length")
        super().__init__(settings, getattr(config, frames), settings["frame_rate"])
        setattr(config, frames, self.clip_length)
        self.processor = processor
        if self.n_crops > 1 and not processor.do_center_crop:
            raise ConfigError(f"{folder} asks for pictures that are not cropped: `crops` must be 1, got {self.n_crops}")
        classifies = any(name.endswith("ForVideoClassification") for name in config.architectures or [])
        models: Any = transformers.MODEL_FOR_VIDEO_CLASSIFICATION_MAPPING if classifies else transformers.MODEL_MAPPING
        network = _network(settings, config, models[type(config)])
        classifier = nn.Identity()
        if classifies:
            network.classifier, classifier = classifier, network.classifier
        self.classifies = classifies
        self.options = {"skip_predictor": True} if config.model_type == "vjepa2" and not classifies else {}
        self.network = nn.ModuleDict({"embedding": network, "classifier": classifier})

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        if settings["weights"] != "pretrained":  # whose configs may have to be fetched first
            _read(_folder(settings))

    def prepare(self, frames: Tensor, number: int) -> Tensor:
        processor = self.processor
        frames = self._process(frames, do_resize=processor.do_resize)
        if processor.do_center_crop:
            size = (processor.crop_size["height"], processor.crop_size["width"])
            frames = crop(frames, size, number, self.n_crops, self.crop_layout, half=int)
        values = {"do_rescale": processor.do_rescale, "do_normalize": processor.do_normalize}
        return self._process(frames, **values).to(torch.float32).transpose(0, 1)

    def _process(self, frames: Tensor, **steps: bool) -> Tensor:
        """Return [T, 3, H, W] after some steps of the model's processor."""
        chosen = AS_IS | steps
        result = self.processor(
            frames, **chosen, do_sample_frames=False, input_data_format="channels_first", return_tensors="pt"
        )
        (pixels,) = result.values()
        return pixels[0]

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        network = self.network["embedding"]
        result = network(**{network.main_input_name: batch.transpose(1, 2)}, **self.options)
        if self.classifies:
            return result.logits, self.network["classifier"](result.logits)
        return result.last_hidden_state.mean(dim=1), None


def _folder(settings: Mapping[str, Any]) -> Path:
    """Return the folder of the config and the processor: `architecture` if it is one, else that of the weights."""
    folder = Path(settings["architecture"]).expanduser()
    if folder.is_dir():
        return folder
    if settings["weights"] == "random":
        raise ConfigError(
            f"{settings['architecture']!r} is no folder: with `weights: random`, `architecture` must be a folder that "
            "holds config.json and preprocessor_config.json"
        )
    return weights.find(settings).parent


def _read(folder: Path) -> tuple[Any, Any]:
    """Return the config and the processor that a folder holds."""
    try:
        config = transformers.AutoConfig.from_pretrained(folder, **LOCAL)
        return config, transformers.AutoVideoProcessor.from_pretrained(folder, **LOCAL)
    except (OSError, ValueError, KeyError) as error:
        raise WeightsError(
            f"{folder} must hold config.json and preprocessor_config.json (or video_preprocessor_config.json) of a "
            f"video model that transformers {transformers.__version__} has itself: {error}"
        ) from error


def _network(settings: Mapping[str, Any], config: Any, model: Any) -> Any:
    """Return the network in evaluation; transformers itself renames what older releases of it have saved."""
    if settings["weights"] == "random":
        return build(settings, lambda: model(config))
    path = weights.find(settings)
    network, report = model.from_pretrained(
        None,
        config=config,
        state_dict=weights.load(path),
        dtype=torch.float32,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    problems = sorted([*report["missing_keys"], *(name for name, *_ in report["mismatched_keys"])])
    if problems:
        raise WeightsError(
            f"weights file {path} does not fit {model.__name__} of {settings['architecture']} in {len(problems)} of "
            f"its parameters, which it lacks or has in another shape: {', '.join(problems[:3])}; give the file of this "
            "architecture, and leave `clip_length` null where positions are learnt"
        )
    unused = sorted(report["unexpected_keys"])
    rest = f", of which it has no use for {len(unused)} ({', '.join(unused[:3])}, …)" if unused else ""
    print(f"{settings['type']}: weights of {path}{rest}")
    return network.eval().requires_grad_(False)
