"""Training options against a modality that learns fast and leaves the others behind.

Letters: B items, M modalities, C classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from braid.schemes.batch import Batch


def drop_modalities(batch: Batch, share: float) -> Batch:
    """Return the batch with each modality of each item gone with probability `share`, but never all that it has.

    An item that would lose all keeps all (modality dropout: Neverova et al., ModDrop, TPAMI 2016).
    """
    dropped = torch.rand(batch.present.shape) < share
    keeps_some = (batch.present & ~dropped).any(dim=1, keepdim=True)
    return batch.without(dropped & keeps_some)


@torch.no_grad()
def modulate(branches: nn.ModuleList, terms: Tensor, present: Tensor, labels: Tensor, alpha: float) -> None:
    """Slow down, in place, the gradients of the branches of modalities that are ahead (OGM-GE).

    s_m is the mean probability that modality m alone gives to the true class of the items that have it, ρ_m = s_m over
    the mean of the other s. Where ρ_m > 1 the gradients of branch m are multiplied by 1 - tanh(α ρ_m), and get
    Gaussian noise with the standard deviation that each tensor had (Peng et al., *Balanced multimodal learning via
    on-the-fly gradient modulation*, CVPR 2022). For two modalities this is theirs; of more, each is held against the
    mean of the others.

    Parameters
    ----------
    branches : one module a modality [M], with gradients
    terms : float32 [B, M, C]
        What each modality adds to the logits.
    present : bool [B, M]
    labels : int64 [B]
    alpha : float
        Strength, more than 0.
    """
    p_true = terms.softmax(dim=2).gather(2, labels[:, None, None].expand(-1, terms.shape[1], 1))[..., 0]
    counts = present.sum(dim=0)
    scores = (p_true * present).sum(dim=0) / counts.clamp(min=1)
    here = counts > 0
    for m, branch in enumerate(branches):
        others = here.clone()
        others[m] = False
        if not (here[m] and others.any()):
            continue
        ratio = scores[m] / scores[others].mean()
        if ratio <= 1:
            continue
        for parameter in branch.parameters():
            if parameter.grad is not None:
                spread = parameter.grad.std(correction=0)
                parameter.grad.mul_(1 - torch.tanh(alpha * ratio)).add_(spread * torch.randn_like(parameter.grad))
