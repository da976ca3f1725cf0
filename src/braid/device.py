"""The device that networks run on."""

from __future__ import annotations

import ctypes

M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1
"""Parameters of glibc's `mallopt`."""


def pick() -> str:
    """Return `cuda` where a GPU can be used, else `cpu`, and say so in the log."""
    import torch

    if torch.cuda.is_available():
        print(f"device: cuda, {torch.cuda.get_device_name()}")
        return "cuda"
    print("device: cpu, since no GPU can be used")
    return "cpu"


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next allocation instead of giving it back to the operating system.

    A 3D convolution on the CPU allocates tens of megabytes a layer; to get them as new pages each time costs almost
    as much as the arithmetic. Nothing is done where the C library is another one.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(M_MMAP_MAX, 0)
        mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
