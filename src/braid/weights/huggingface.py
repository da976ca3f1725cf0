"""Files of Hugging Face repositories, and the video models of `transformers` among them.

The publisher's SHA-256 of a large file is not known beforehand: it comes with the reply and is checked then.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from braid.errors import WeightsError
from braid.weights.record import Weights, is_non_commercial

HOST = "https://huggingface.co"
VIDEO = {
    "videomae": ("CC-BY-NC-4.0", "Tong et al., VideoMAE, NeurIPS 2022"),
    "vjepa2": ("MIT", "Assran et al., V-JEPA 2, 2025"),
    "timesformer": ("CC-BY-NC-4.0", "Bertasius et al., TimeSformer, ICML 2021"),
}
"""Licence and citation of the families whose licence was read; by a part of the name."""
CONFIGS = ("config.json", "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")
"""What `transformers` may read of a folder besides the weights."""


def card(repository: str) -> str:
    """Return what stands for a licence that is not known here: where to read it."""
    return f"not recorded here, see {HOST}/{repository}"


def weights(repository: str, file: str, licence: str, citation: str, companions: tuple[Weights, ...] = ()) -> Weights:
    """Return a file of a repository (`organisation/name`), kept in a sub-folder of the repository's name."""
    return Weights(
        file=f"{repository.replace('/', '--')}/{file}",
        url=f"{HOST}/{repository}/resolve/main/{file}",
        sha256="",
        licence=licence,
        citation=citation,
        non_commercial=is_non_commercial(licence),
        companions=companions,
    )


def video(settings: Mapping[str, Any]) -> Weights:
    """Return a video model of `transformers` by `architecture`, its id `organisation/name`, with its two configs.

    Models that have a video processor of their own (V-JEPA 2) keep its config under another name than older ones.
    """
    repository = settings["architecture"]
    if Path(repository).expanduser().is_dir():
        raise WeightsError(
            f"{repository!r} is a folder here, not a Hugging Face repository: give its file as `weights`, such as "
            f"{repository}/model.safetensors"
        )
    if not re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", repository):
        raise WeightsError(f"{repository!r} must be the id of a Hugging Face repository, `organisation/name`")
    family = next((name for name in VIDEO if name in repository.lower()), "")
    licence, citation = VIDEO.get(family, (card(repository), card(repository)))
    processor = "video_preprocessor_config.json" if family == "vjepa2" else "preprocessor_config.json"
    configs = tuple(weights(repository, file, licence, citation) for file in ("config.json", processor))
    return weights(repository, "model.safetensors", licence, citation, configs)


def users_configs(settings: Mapping[str, Any]) -> list[Path]:
    """Return the configs that make a model of a user's own: those in the folder `architecture`, else beside its file.

    The same weights give other numbers by another config, so what tells weights apart must tell these apart too.
    """
    folder = Path(settings["architecture"]).expanduser()
    if not folder.is_dir():
        folder = Path(settings["weights"]).expanduser().parent
    return [folder / name for name in CONFIGS if (folder / name).is_file()]
