"""A process that decodes clips: JSON lines in, JSON lines out, frames and sound in spool files that it inherits.

Each line of standard input is a task, ``{"video", "audio", "settings", "spool"}``, `spool` the number of an open
file. Each line of standard output is ``{"alive": true}``, ``{"done": record}``, ``{"failed": reason}`` for an error of
this one clip, or ``{"stop": reason}`` when the spool cannot be written. The process ends with its standard input, and
on Linux it is killed when its parent dies, whatever it hangs in.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

from braid.media.clip import decode_clip
from braid.media.spool import SpoolError

SIGN_SECONDS = 0.5
"""Least time between two signs of life."""
PR_SET_PDEATHSIG = 1


def serve(decode: Callable[..., dict[str, Any]]) -> None:
    """Answer tasks until standard input ends.

    Parameters
    ----------
    decode : callable
        As `braid.media.clip.decode_clip`.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent too, which then ends its workers
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what C libraries print must not look like an answer
    last = 0.0

    def say(answer: dict[str, Any]) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    def alive() -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= SIGN_SECONDS:
            last = now
            say({"alive": True})

    say({"alive": True})
    for line in sys.stdin:
        task = json.loads(line)
        try:
            with os.fdopen(task["spool"], "wb", buffering=0, closefd=False) as file:
                answer = {"done": decode(task["video"], task["audio"], task["settings"], file, alive)}
        except SpoolError as error:
            answer = {"stop": str(error)}
        except Exception as error:
            answer = {"failed": " ".join(f"{type(error).__name__}: {error}".split())}
        say(answer)


if __name__ == "__main__":
    serve(decode_clip)
