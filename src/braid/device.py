"""The device that networks run on."""

from __future__ import annotations


def pick() -> str:
    """Return `cuda` where a GPU can be used, else `cpu`, and say so in the log."""
    import torch

    if torch.cuda.is_available():
        print(f"device: cuda, {torch.cuda.get_device_name()}")
        return "cuda"
    print(f"device: cpu, no GPU can be used; {torch.get_num_threads()} threads")
    return "cpu"
