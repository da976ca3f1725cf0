"""A Python that has imported much already, and forks for each command: most of a short job is its imports.

A fork does what Python does after its start: it has the arguments, folder, environment and standard streams of whoever
asks, finds modules by its own PYTHONPATH, and dies with whoever asks. What is imported beforehand are libraries of
others, without those that start threads (polars, zarr), which a fork would lack.
"""

from __future__ import annotations

import array
import atexit
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile

STREAMS = 3


class Forks:
    """The process that forks; it ends with the one that made it.

    Parameters
    ----------
    modules : str
        What it imports.

    Attributes
    ----------
    address : path of the socket that it listens on
    """

    def __init__(self, *modules: str) -> None:
        self._folder = TemporaryDirectory(prefix="forks-")  # a short path: sockets allow no other
        self.address = str(Path(self._folder.name, "socket"))
        command = [sys.executable, __file__, self.address, *modules]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self._process.stdout and self._process.stdout.readline(), "it could not import what it should"

    def stop(self) -> None:
        self._process.communicate()
        self._folder.cleanup()

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """Do what `subprocess.run` does with a command of Python, text captured."""
        with TemporaryFile() as none, TemporaryFile() as out, TemporaryFile() as err:
            streams = [file.fileno() for file in (none, out, err)]
            status = ask(self.address, command, str(folder), environment, streams)
            texts = [file.read().decode() for file in (out, err) if not file.seek(0)]
        return subprocess.CompletedProcess(command, status, *texts)


def ask(address: str, command: Sequence[str], folder: str, environment: Mapping[str, str], streams: list[int]) -> int:
    """Return the exit status of a fork that runs `command`, which names a script or `-m` and a module."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(address)
        request = json.dumps({"command": list(command), "folder": folder, "environment": dict(environment)}).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", streams))]
        connection.sendmsg([len(request).to_bytes(8, "big")], rights)
        connection.sendall(request)
        return int.from_bytes(connection.recv(8), "big", signed=True)


def _serve(address: str) -> None:
    """Fork for each connection, until the standard input is closed."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for these
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while listening in select.select([listening, sys.stdin], [], [])[0]:
            connection, _ = listening.accept()
            if not os.fork():
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                listening.close()
                _keep(connection)
                os._exit(0)
            connection.close()


def _keep(connection: socket.socket) -> None:
    """Fork again and tell how that ends, or end it when nobody waits for it any more."""
    size, rights, *_ = connection.recvmsg(8, socket.CMSG_SPACE(STREAMS * 4))
    streams = array.array("i", rights[0][2][: STREAMS * 4])
    request = json.loads(connection.makefile("rb").read(int.from_bytes(size, "big")))
    if not (pid := os.fork()):
        connection.close()
        os._exit(_become(streams, **request))
    ended = os.pidfd_open(pid)
    if ended in select.select([ended, connection], [], [])[0]:
        _, status = os.waitpid(pid, 0)
        connection.sendall(os.waitstatus_to_exitcode(status).to_bytes(8, "big", signed=True))
    else:
        os.kill(pid, signal.SIGKILL)


def _become(streams: Sequence[int], command: Sequence[str], folder: str, environment: Mapping[str, str]) -> int:
    """Run the command and return its exit status, with all done that Python does in the end but to free its memory."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    paths = [path for path in environment.get("PYTHONPATH", "").split(os.pathsep) if path]
    _, *sys.argv = command
    try:
        if sys.argv[0] == "-m":
            sys.path[:1], sys.argv = [folder, *paths], sys.argv[1:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
        else:
            sys.path[:1] = [str(Path(folder, sys.argv[0]).parent), *paths]
            runpy.run_path(sys.argv[0], run_name="__main__")
        status = 0
    except SystemExit as stop:
        status = stop.code if isinstance(stop.code, int) else int(stop.code is not None)
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()  # pyright: ignore[reportAttributeAccessIssue] - waits for threads
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return status


if __name__ == "__main__":
    _, address, *modules = sys.argv
    for name in modules:
        import_module(name)
    assert threading.active_count() == 1, threading.enumerate()
    gc.freeze()  # a fork that looks for garbage would copy all that is here
    _serve(address)
