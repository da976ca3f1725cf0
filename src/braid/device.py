"""The device that networks run on, and the memory of the process beside it."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from pathlib import Path

from braid import gpus

M_MMAP_MAX, M_TRIM_THRESHOLD = -4, -1
"""Parameters of glibc's `mallopt`."""


def pick(n: int = 1) -> str:
    """Return `cuda` where a GPU can be used, else `cpu`, and say so in the log.

    Parameters
    ----------
    n : GPUs that are taken for this process, see `braid.gpus`; a batch system has given it those that it may use
    """
    taken = [] if gpus.is_assigned() else gpus.claim(n)
    import torch

    if torch.cuda.is_available():
        names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        print("device: cuda,", *names, *taken)
        return "cuda"
    print("device: cpu, since no GPU can be used")
    return "cpu"


def use_threads(n: int) -> None:
    """Have PyTorch use `n` threads for what the calling thread computes, whatever others have set.

    `torch.set_num_threads` alone does not see to it: a thread settles its number only at its first question or parallel
    loop, as the one that any thread has set last.
    """
    import torch

    torch.set_num_threads(n)
    torch.get_num_threads()


def keep_freed_memory() -> None:
    """Have glibc keep freed memory for the next allocation instead of giving it back to the operating system.

    A 3D convolution on the CPU allocates tens of megabytes a layer; to get them as new pages each time costs almost
    as much as the arithmetic. What has been freed before is given back, so that `resident_bytes` then tells how much
    the process has needed since. Nothing is done where the C library is another one.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt") and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)


def resident_bytes() -> int:
    """Return how much memory the process occupies; 0 where the operating system does not say (it does on Linux)."""
    with suppress(FileNotFoundError):
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return 0


def is_out_of_memory(error: RuntimeError) -> bool:
    """Return whether `error` of torch says that the memory of the device, or of the computer, does not suffice."""
    import torch

    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator: can't allocate" in str(error)
