"""Processes that need not import torch, because a server that has imported it forks them, during `reprolib repro`.

`warm_processes` starts `python -m reprolib.pipeline.warm serve SOCKET`, which imports the libraries once and forks a
process on request: for the pipeline's commands, dvc itself and the notebooks' kernels. The server imports nothing of
reprolib, so that each process runs the code that is on disk when it starts. A client (`ask`) requests a process, waits
for it and ends with its status; interrupting or killing the client interrupts or kills the process. Jupyter finds a
kernelspec `python3`, ahead of others of that name, whose command is such a client.

A kernel provisioner of Jupyter would need the same server, and an entry point, which only an installed package has.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

# What the notebooks, verbs and dvc import. On import none of them computes, uses a GPU or starts a thread
# that is needed later: a process that has initialised CUDA must not be forked.
LIBRARIES = (
    "torch",
    "torchvision",
    "torch._dynamo",  # the first optimiser loads it
    "timm",
    "pandas",
    "pandas.io.formats.style",
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
    "hotcoco",
    "pycocotools.cocoeval",
    "ipykernel.kernelapp",
    "IPython.core.completerlib",
    "IPython.extensions.storemagic",
    "papermill",
    "dvc.cli",
    "dvc.commands.repro",
    "dvc.commands.status",
    "dvc.repo",
)
ADDRESS = "REPROLIB_WARM"  # environment variable: the socket
# By default glibc returns freed memory to the system, and a training step allocates it again. Keeping it saves 60 % of
# the page faults.
KEEP_MEMORY = {
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_TOP_PAD_": str(2**26),
    "MALLOC_MMAP_THRESHOLD_": str(2**25),
}
PARENT = "{parent}"  # in an argument: the id of the process that supervises the forked process
REQUEST_BYTES = 1 << 20  # bytes of a request that are read at once: folder, environment, arguments


@contextlib.contextmanager
def warm_processes(libraries: Sequence[str] = LIBRARIES) -> Iterator[None]:
    """Within, commands made by `command`, reprolib's verbs and notebooks are forked from a process with `libraries`.

    On Windows and macOS, where forking is not safe, they start as usual.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="reprolib-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = f"{folder}/socket"
        spec = Path(folder) / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        kernel = [*_client_command(address, "ipykernel_launcher"), "-f", "{connection_file}"]
        kernel.append(f"--IPKernelApp.parent_handle={PARENT}")  # a kernel ends when that does
        spec.write_text(json.dumps({"argv": kernel, "display_name": "Python 3", "language": "python"}))
        listener.bind(address)
        listener.listen()  # a client that connects before the libraries are imported waits
        serving = [sys.executable, "-m", "reprolib.pipeline.warm", "serve", str(listener.fileno()), *libraries]
        server = subprocess.Popen(
            serving, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], env=os.environ | KEEP_MEMORY
        )
        before = {name: os.environ.get(name) for name in ("JUPYTER_PATH", ADDRESS)}
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (folder, before["JUPYTER_PATH"])))
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
            server.stdin.close()  # this ends the server; so does the death of this process
            server.wait()


def command(module: str, *arguments: str) -> list[str]:
    """`python -m module arguments`; within `warm_processes` the command of a client."""
    address = os.environ.get(ADDRESS)
    return [*(_client_command(address, module) if address else (sys.executable, "-m", module)), *arguments]


def _client_command(address: str, module: str) -> list[str]:
    return [sys.executable, "-I", "-S", __file__, "ask", address, module]


def serve(listener: socket.socket, libraries: Sequence[str]) -> None:
    """Fork a process for each connection until standard input ends; a process goes on while its client lives.

    Returns in each forked process too, when its work is done.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is meant for the parent, which then closes standard input
    for name in libraries:
        with contextlib.suppress(ImportError):  # then the forked process fails as it would without this server
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # garbage collection in a forked process then does not copy the shared pages
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the supervising processes are not waited for
    while listener in select.select([sys.stdin, listener], [], [])[0]:
        client, _ = listener.accept()
        if not os.fork():
            listener.close()
            return _supervise(client)
        client.close()


def _supervise(client: socket.socket) -> None:
    """Fork the process; send its id, then its exit status. When the client has ended, kill it and what it started."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, files, *_ = socket.recv_fds(client, REQUEST_BYTES, 3)
    while not message.endswith(b"\n"):
        message += client.recv(REQUEST_BYTES)
    process = os.fork()
    if not process:
        client.close()
        return _run(files, **json.loads(message))
    for file in files:
        os.close(file)
    client.sendall(b"%d\n" % process)
    ended = os.pidfd_open(process)
    if ended not in select.select([ended, client], [], [])[0]:
        os.killpg(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    with contextlib.suppress(OSError):  # the client has ended
        client.sendall(b"%d" % os.waitstatus_to_exitcode(status))


def _run(files: list[int], *, folder: str, environment: dict[str, str], module: str, arguments: list[str]) -> None:
    """What `python -m module` does, in this process with the client's folder, environment and files."""
    os.setsid()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, "")
    sys.argv = [module, *(argument.replace(PARENT, str(os.getppid())) for argument in arguments)]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        status = end.code or 0
    # What an interpreter does at its end, without freeing the libraries object by object, which takes 0.4 s.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # the reader has ended
            stream.flush()
    os._exit(status)


def ask(address: str, module: str, *arguments: str) -> int:
    """Request `python -m module arguments` and wait for its end; returns its status, or ends by its signal.

    Raises OSError where no server listens at the address.
    """
    request = {"folder": str(Path.cwd()), "environment": dict(os.environ), "module": module, "arguments": arguments}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [json.dumps(request).encode() + b"\n"], [0, 1, 2])
        answer = server.makefile()
        process = int(answer.readline())
        signal.signal(signal.SIGINT, lambda *_: os.killpg(process, signal.SIGINT))
        status = int(answer.read() or 1)
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(socket.socket(fileno=int(sys.argv[2])), sys.argv[3:])
    else:
        sys.exit(ask(*sys.argv[2:]))
