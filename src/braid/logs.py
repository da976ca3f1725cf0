"""What a job prints, Python and C libraries alike, goes to its log file."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from braid.errors import BraidError


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Send descriptors 1 and 2 to `path` while the block runs; end the process with status 1 when it fails.

    An error that the user can mend is logged as its sentence, any other one with its traceback. The process is to end
    after the block: Python would look for garbage among all modules then, which takes more than a second with torch.
    """
    with Path(path).open("w", encoding="utf-8", buffering=1) as log:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            yield
        except BraidError as error:
            print(f"braid: {error}", file=sys.stderr)
            sys.exit(1)
        except Exception:
            traceback.print_exc()
            sys.exit(1)
        finally:
            gc.freeze()
