"""CLIP and its relatives (Radford et al., ICML 2021) by open_clip: embeddings of frames, zero-shot scores of classes.

Letters: B frames of a batch, C classes, P texts of a class, L words of a text, D numbers of an embedding.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from typing import Any

import open_clip
import torch
from open_clip.model import convert_to_custom_text_state_dict
from open_clip.pretrained import get_pretrained_cfg
from open_clip.tokenizer import HFTokenizer
from open_clip.transform import PreprocessCfg, image_transform_v2, merge_preprocess_dict
from torch import Tensor, nn
from torch.nn.functional import normalize

from braid import weights
from braid.errors import ConfigError, WeightsError
from braid.extractors.base import build
from braid.extractors.frames import FrameExtractor
from braid.extractors.prompts import texts
from braid.weights import clip as table

OPENAI_CONSTANTS = {"input_resolution", "context_length", "vocab_size"}
"""What OpenAI's files, and only these, hold besides parameters."""
TEXT_BATCH = 256


class Clip(FrameExtractor):
    """Tokens are L2-normalised embeddings of crops of frames; the embedding is their mean, normalised again.

    With `classes` there are scores too: a class is the mean of the normalised embeddings of its texts, normalised; its
    logit is the cosine to the frame times the learnt scale, plus the learnt bias where there is one (SigLIP).

    Parameters
    ----------
    settings : mapping
        `architecture` (a name of open_clip), `pretrained_tag` (one of open_clip's, which also decides the transform;
        None: the first that suits), `classes` (names; or label → name in the text; or None), `templates` (see
        `braid.extractors.prompts`), `weights` and what `FrameExtractor` reads.
    """

    normalised = True

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self.settings = settings
        self.architecture: str = settings["architecture"]
        self.check(settings)
        self.network = build(settings, self._make, self._adapt)
        self.follow(image_transform_v2(self.preprocessing(), is_train=False))
        self.words = _words(settings) if settings["classes"] else None
        self.classes: Tensor | None = None
        self.class_names = list(settings["classes"] or ())

    @classmethod
    def check(cls, settings: Mapping[str, Any]) -> None:
        name = settings["architecture"]
        _check_name(name)
        if settings["weights"] == "pretrained" or settings["pretrained_tag"] is not None:
            table.tag_of(name, settings["pretrained_tag"])
        if settings["classes"] and table.tokenizer(name):  # whose files may have to be fetched first
            _sentences(settings)
        elif settings["classes"]:
            _words(settings)

    def _make(self) -> nn.Module:
        try:
            with _quiet():
                return open_clip.create_model(self.architecture, pretrained_text=False)
        except OSError as error:
            raise ConfigError(
                f"open_clip cannot make {self.architecture} without the configuration of its text tower, which it "
                f"fetches from Hugging Face by itself ({str(error).splitlines()[0]}); run this once where there is a "
                "network, or choose another architecture"
            ) from error

    def _adapt(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Return a published state dict as open_clip itself would load it."""
        config = _config(self.architecture)
        if state.keys() & OPENAI_CONSTANTS and not config.get("quick_gelu"):
            raise WeightsError(
                f"weights file {self.settings['weights']} is OpenAI's and was trained with QuickGELU, which "
                f"{self.architecture!r} does not have; name the architecture '{self.architecture}-quickgelu'"
            )
        state = {name.removeprefix("module."): value for name, value in state.items() if name not in OPENAI_CONSTANTS}
        if config.get("custom_text") or "hf_model_name" in config["text_cfg"]:
            state = convert_to_custom_text_state_dict(state)
        for name in {"logit_scale", "logit_bias"} & state.keys():  # one number, as a scalar or as a vector
            state[name] = state[name].reshape([1] if config.get("nonscalar_logit_scale") else [])
        return state

    def preprocessing(self) -> PreprocessCfg:
        """Return how pictures are prepared: as the weights of `pretrained_tag` want it, at the size of the network.

        Where no weights suit the architecture (those of RN50x4 have QuickGELU), it is as open_clip trains it.
        """
        known, wanted = {}, self.settings["pretrained_tag"]
        if wanted or table.suited_tags(self.architecture):
            tag = table.tag_of(self.architecture, wanted)
            known = get_pretrained_cfg(self.architecture, tag)
        return PreprocessCfg(**merge_preprocess_dict(self.network.visual.preprocess_cfg, known))

    def forward(self, batch: Tensor) -> tuple[Tensor, Tensor | None]:
        tokens = normalize(self.network.encode_image(batch).float(), dim=-1)
        return tokens, None if self.words is None else self._logits(tokens, self.words)

    def _logits(self, tokens: Tensor, words: Tensor) -> Tensor:
        """Return the logits [B, C] of tokens [B, D], float32 whatever the precision of the images."""
        with torch.autocast(tokens.device.type, enabled=False):
            if self.classes is None:  # once a job: images are few beside texts where there are many templates
                self.classes = self._encode(words.to(tokens.device))
            logits = self.network.logit_scale.exp() * tokens @ self.classes.T
            return logits if self.network.logit_bias is None else logits + self.network.logit_bias

    def _encode(self, words: Tensor) -> Tensor:
        """Return the embeddings of the classes, [C, D], of unit length."""
        network: Any = self.network
        if isinstance(network, open_clip.CLIP) and network.attn_mask is not None and network.text_pool_type == "argmax":
            # A token sees those before it only and the end is what is read, so nothing after the longest text matters.
            longest = int(words.argmax(dim=-1).max()) + 1
            words = words[..., :longest]
            positions, mask = network.get_parameter("positional_embedding"), network.get_buffer("attn_mask")
            network.positional_embedding = nn.Parameter(positions[:longest], requires_grad=False)
            network.attn_mask = mask[:longest, :longest]
        parts = words.flatten(0, 1).split(TEXT_BATCH)
        each = torch.cat([normalize(network.encode_text(part), dim=-1) for part in parts])
        return normalize(each.unflatten(0, words.shape[:2]).mean(dim=1), dim=-1)


def _sentences(settings: Mapping[str, Any]) -> list[tuple[str, list[str]]]:
    """Return the name of each class and its texts."""
    classes = settings["classes"]
    names = list(classes.values() if isinstance(classes, Mapping) else classes)
    return list(zip(names, texts(names, settings["templates"]), strict=True))


def _words(settings: Mapping[str, Any]) -> Tensor:
    """Return the numbers of the words of the texts of the classes, int64 [C, P, L]."""
    tokenizer = _tokenizer(settings["architecture"])
    length = tokenizer.context_length
    filler = tokenizer([""], context_length=length + 1)[0, -1]
    words = []
    for name, group in _sentences(settings):
        longer = tokenizer(group, context_length=length + 1)
        if (longer[:, -1] != filler).any():
            raise ConfigError(
                f"the text of class {name!r} is longer than the {length} tokens that {settings['architecture']} reads; "
                "shorten its name or the template"
            )
        words.append(tokenizer(group))
    return torch.stack(words)


def _config(name: str) -> dict[str, Any]:
    return open_clip.get_model_config(name) or {}


def _check_name(name: str) -> None:
    """Refuse a name that open_clip does not have, and name those near it."""
    known: Sequence[str] = open_clip.list_models()
    if name not in known:
        near = get_close_matches(name, known)
        raise ConfigError(
            f"open_clip has no architecture {name!r}; "
            + (f"near it are {', '.join(near)}" if near else "`open_clip.list_models()` has all")
        )


def _tokenizer(name: str) -> Any:
    """Return what turns texts into numbers: open_clip's own, or one whose files are kept in the weights folder."""
    files = table.tokenizer(name)
    if not files:
        with _quiet():
            return open_clip.get_tokenizer(name)
    folder = {weights.fetch(file).parent for file in files}.pop()
    config = _config(name)["text_cfg"]
    try:
        return HFTokenizer(
            str(folder),
            context_length=config.get("context_length", open_clip.tokenizer.DEFAULT_CONTEXT_LENGTH),
            tokenizer_mode=config.get("tokenizer_mode"),
            **config.get("tokenizer_kwargs", {}),
        )
    except ImportError as error:
        raise ConfigError(f"the texts of {name} need the package transformers: install braid[transformers]") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep away what open_clip logs of a network that has no weights yet, and leave the loggers as they are.

    It logs by functions that give the root logger a handler where there is none, which would print all that other
    libraries, Snakemake among them, say from then on.
    """
    root, handler = logging.getLogger(), logging.NullHandler()
    root.addHandler(handler)
    root.addFilter(_is_not_about_random_weights)
    try:
        yield
    finally:
        root.removeFilter(_is_not_about_random_weights)
        root.removeHandler(handler)


def _is_not_about_random_weights(record: logging.LogRecord) -> bool:
    return "Model initialized randomly" not in record.getMessage()
