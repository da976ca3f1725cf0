"""Networks of open_clip by name and tag: OpenAI's own files, and whatever open_clip's table of weights says."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from braid.errors import WeightsError
from braid.weights import huggingface
from braid.weights.record import Weights, hash_in, is_non_commercial

OPENAI = "https://openaipublic.azureedge.net/clip/models/"
FILE = "open_clip_model.safetensors"
"""What open_clip looks for in a repository unless its table names another file."""

TERMS = {
    "openai": ("MIT (the model card puts deployed use out of scope)", "Radford et al., CLIP, ICML 2021"),
    "metaclip": ("CC-BY-NC-4.0", "Xu et al., Demystifying CLIP data, ICLR 2024"),
    "siglip2": ("Apache-2.0", "Tschannen et al., SigLIP 2, 2025"),
    "siglip": ("Apache-2.0", "Zhai et al., Sigmoid loss for language image pre-training, ICCV 2023"),
    "pe-core": ("Apache-2.0", "Bolya et al., Perception encoder, 2025"),
    "mobileclip": ("apple-amlr", "Vasu et al., MobileCLIP, CVPR 2024"),
}
"""Licence and citation by a part of `<architecture>/<tag>`, the first that fits."""
OPEN_CLIP = "Ilharco et al., OpenCLIP, 2021"


def official(settings: Mapping[str, Any]) -> Weights:
    """Return the weights of `architecture`, by `pretrained_tag`; with `classes` the files of its tokenizer too."""
    weights = _network(settings)
    return replace(weights, companions=tokenizer(settings["architecture"])) if settings.get("classes") else weights


def tokenizer(name: str) -> tuple[Weights, ...]:
    """Return the files of an architecture's tokenizer, none where it is part of open_clip."""
    repository = description(name).get("text_cfg", {}).get("hf_tokenizer_name")
    if not repository:
        return ()
    licence = huggingface.card(repository)
    files = ("tokenizer.json", "tokenizer_config.json")
    return tuple(huggingface.weights(repository, file, licence, OPEN_CLIP) for file in files)


def description(name: str) -> dict[str, Any]:
    """Return what open_clip's own file says of an architecture, nothing where it has none.

    The file is read without open_clip, whose import takes seconds: each job asks what its rules have to fetch.
    """
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        return {}
    file = Path(package.origin).with_name("model_configs") / f"{name}.json"
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _network(settings: Mapping[str, Any]) -> Weights:
    name = settings["architecture"]
    tag = tag_of(name, settings.get("pretrained_tag"))
    from open_clip.pretrained import get_pretrained_cfg

    known = get_pretrained_cfg(name, tag)
    url, repository = known["url"], known["hf_hub"]
    label = f"{name}/{tag}".lower()
    terms = next((TERMS[part] for part in TERMS if part in label), None)
    if url.startswith(OPENAI):
        digest, file = url.removeprefix(OPENAI).split("/")
        return Weights(f"clip-{file}", url, digest, *TERMS["openai"])
    if repository and not hash_in(url):
        repository, _, file = repository.rpartition("/")
        return huggingface.weights(repository, file or FILE, *(terms or (huggingface.card(repository), OPEN_CLIP)))
    licence, citation = terms or ("not stated by open_clip", OPEN_CLIP)
    return Weights(
        file=f"clip-{url.rpartition('/')[2]}",
        url=url,
        sha256=hash_in(url),
        licence=licence,
        citation=citation,
        non_commercial=is_non_commercial(licence),
    )


def tag_of(name: str, wanted: str | None) -> str:
    """Return the tag to use for an architecture: the one that is wanted, or the first that suits its activation.

    Some weights were trained with QuickGELU and are wrong, not unusable, in a network with GELU: these two are never
    mixed.

    Raises
    ------
    WeightsError
        There are no weights of this tag, or none that suit.
    """
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(name)
    if not tags:
        raise WeightsError(
            f"open_clip has no weights for {name!r}; `open_clip.list_pretrained()` has all architectures and tags"
        )
    suited = suited_tags(name)
    if suited and (wanted is None or wanted in suited):
        return wanted or suited[0]
    if wanted is None or wanted in tags:
        raise WeightsError(
            f"the weights {wanted or ', '.join(tags)} were trained with QuickGELU, which {name!r} does not have; name "
            f"the architecture '{name}-quickgelu'"
        )
    raise WeightsError(f"open_clip has no tag {wanted!r} for {name!r}; choose from {', '.join(suited)}")


def suited_tags(name: str) -> list[str]:
    """Return the tags of an architecture whose weights were trained with its activation."""
    import open_clip
    from open_clip.pretrained import get_pretrained_cfg

    quick = (open_clip.get_model_config(name) or {}).get("quick_gelu")
    tags = open_clip.list_pretrained_tags_by_model(name)
    return [tag for tag in tags if quick or not get_pretrained_cfg(name, tag).get("quick_gelu")]
