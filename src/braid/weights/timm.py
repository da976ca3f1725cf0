"""Networks of timm by name: whatever its own table of pretrained weights says."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from braid.errors import WeightsError
from braid.weights import huggingface
from braid.weights.record import Weights, hash_in, is_non_commercial

RELEASES = re.compile(r"https://github\.com/(rwightman|huggingface)/pytorch-image-models/releases/")
WIGHTMAN = "Wightman, PyTorch image models, 2019"


def official(settings: Mapping[str, Any]) -> Weights:
    """Return the weights of `architecture`, a name of timm with its tag or with timm's default one.

    timm's own releases have the first digits of the SHA-256 in their names; where there is none, the file is timm's
    copy on Hugging Face, else the one of the authors.
    """
    from timm.models import get_pretrained_cfg

    name = settings["architecture"]
    try:
        known = get_pretrained_cfg(name)
    except RuntimeError:  # of a tag that timm does not know
        known = None
    if known is None or not (known.url or known.hf_hub_id):
        raise WeightsError(f"timm has no weights for {name!r}; `timm.list_pretrained()` has all names")
    licence = known.license or "not stated by timm"
    papers = known.paper_ids or known.origin_url or ()
    citation = "; ".join([WIGHTMAN, *([papers] if isinstance(papers, str) else papers)])
    url = str(known.url or "")
    released = RELEASES.match(url) and hash_in(url)
    if known.hf_hub_id and not released:
        return huggingface.weights(known.hf_hub_id, "model.safetensors", licence, citation)
    return Weights(
        file=url.rpartition("/")[2],
        url=url,
        sha256=hash_in(url),
        licence=licence,
        citation=citation,
        non_commercial=is_non_commercial(licence),
    )
