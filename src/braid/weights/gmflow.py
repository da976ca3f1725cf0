"""GMFlow's files: unimatch's on its authors' server, those of the first release as ptlflow keeps them.

The first release itself is an archive on a file-sharing site, which a program cannot fetch; its files can be given as
`weights: <file>`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from braid.errors import WeightsError
from braid.weights.record import Weights, hash_in

UNIMATCH = "https://s3.eu-central-1.amazonaws.com/avg-projects/unimatch/pretrained/"
PTLFLOW = "https://github.com/hmorimitsu/ptlflow/releases/download/weights1/"
URLS = {
    ("gmflow", "mixdata"): f"{UNIMATCH}gmflow-scale1-mixdata-train320x576-4c3a6e9a.pth",
    ("gmflow", "chairs"): f"{PTLFLOW}gmflow-chairs-4922131e.ckpt",
    ("gmflow", "things"): f"{PTLFLOW}gmflow-things-5a18a9e8.ckpt",
    ("gmflow", "sintel"): f"{PTLFLOW}gmflow-sintel-d6f83ccd.ckpt",
    ("gmflow", "kitti"): f"{PTLFLOW}gmflow-kitti-af50eb2e.ckpt",
    ("gmflow_refine", "mixdata"): f"{UNIMATCH}gmflow-scale2-mixdata-train320x576-9ff1c094.pth",
    ("gmflow_refine", "chairs"): f"{PTLFLOW}gmflow_refine-chairs-88cdc009.ckpt",
    ("gmflow_refine", "things"): f"{PTLFLOW}gmflow_refine-things-e40899f5.ckpt",
    ("gmflow_refine", "sintel"): f"{PTLFLOW}gmflow_refine-sintel-ee46a2c4.ckpt",
    ("gmflow_refine", "kitti"): f"{PTLFLOW}gmflow_refine-kitti-b7bf2fda.ckpt",
}
"""Source by architecture and the data that it was trained on last."""


def network(settings: Mapping[str, Any]) -> Weights:
    """Return the file of `architecture` and `trained_on`."""
    wanted = settings["architecture"], settings["trained_on"]
    if wanted not in URLS:
        known = ", ".join("-".join(each) for each in URLS)
        raise WeightsError(f"GMFlow has no official weights {'-'.join(wanted)!r}; choose from {known}")
    url = URLS[wanted]
    return Weights(
        file=url.rpartition("/")[2],
        url=url,
        sha256=hash_in(url),
        licence="MIT" if url.startswith(UNIMATCH) else "Apache-2.0",
        citation="Xu et al., GMFlow: learning optical flow via global matching, CVPR 2022",
    )
