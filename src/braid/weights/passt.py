"""PaSST's official files, releases of its authors; no checksum or size is published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid.errors import WeightsError
from braid.weights.record import Weights

FILES = {
    "passt_s_swa_p16_128_ap476": "v0.0.1-audioset/passt-s-f128-p16-s10-ap.476-swa.pt",
    "passt_s_kd_p16_128_ap486": "v.0.0.9/passt-s-kd-ap.486.pt",
    "passt_s_p16_s16_128_ap468": "v0.0.2-audioset/passt-s-f128-p16-s16-ap.468.pt",
    "passt_l_kd_p16_128_ap47": "v.0.0.10/passt-l-kd-ap.47.pt",
    "passt_20sec": "v0.0.5/passt-s-f128-20sec-p16-s10-ap.474-swa.pt",
    "passt_30sec": "v0.0.5/passt-s-f128-30sec-p16-s10-ap.473-swa.pt",
}
"""Release and file of each architecture."""


def official(settings: Mapping[str, Any]) -> Weights:
    """Return the file of `architecture`."""
    name = settings["architecture"]
    if name not in FILES:
        raise WeightsError(f"PaSST has no official weights for {name!r}; choose from {', '.join(FILES)}")
    return Weights(
        file=FILES[name].rpartition("/")[2],
        url=f"https://github.com/kkoutini/PaSST/releases/download/{FILES[name]}",
        sha256="",
        licence="Apache-2.0",
        citation="Koutini et al., Efficient training of audio transformers with patchout, Interspeech 2022",
    )
