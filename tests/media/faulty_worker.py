"""A worker whose decoder fails on clips that are named for it."""

import os
import signal
import sys
import time
from pathlib import Path

from braid.media.clip import decode_clip
from braid.media.worker import serve


def decode(video, audio, settings, file, alive):
    name = Path(video).name
    if name.startswith("crash"):
        os.kill(os.getpid(), signal.SIGSEGV)
    if name.startswith("exit"):
        os._exit(3)
    if name.startswith("hang"):
        Path(video).with_suffix(".pid").write_text(str(os.getpid()))
        time.sleep(600)
    if name.startswith("error"):
        raise RuntimeError("no such luck")
    if name.startswith("slow"):
        for _ in range(8):
            time.sleep(0.5)
            alive()
    if name.startswith("chatter"):
        os.write(1, b"what a C library prints\n")
        sys.stdout.flush()
    return decode_clip(video, audio, settings, file, alive)


if __name__ == "__main__":
    serve(decode)
