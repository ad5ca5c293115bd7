"""Kernels that need not import torch: forked from a process that has, while `reprolib repro` works.

`warm_kernels` starts `python -m reprolib.warm serve DESCRIPTOR`, which imports the libraries once and forks a kernel
for whoever asks on that socket. It imports nothing of reprolib, so that a kernel runs the code that is on disk when it
starts. Jupyter finds it by a kernelspec `python3` ahead of the others, whose command asks, waits for the kernel and
ends with its status: a usual process, and interrupting or killing it does so to the kernel.

A kernel provisioner of Jupyter's would need the same server, and an entry point that is there only once installed.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

# What the notebooks load. None of them computes, starts a thread that matters or touches a GPU on import: a process
# that has initialised CUDA must not be forked.
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
)
# glibc gives freed memory back, and a training step asks for it again: kept, there are 60 % fewer page faults.
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
ASKED = 1 << 20  # bytes read at once of a request: folder, environment, arguments


@contextlib.contextmanager
def warm_kernels(libraries: Sequence[str] = LIBRARIES) -> Iterator[None]:
    """Let the notebooks that subprocesses execute within get their kernels from one process that has `libraries`.

    Kernels are the usual ones where processes cannot be forked safely: Windows, macOS.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="reprolib-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = f"{folder}/socket"
        spec = Path(folder) / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        command = [sys.executable, "-I", "-S", __file__, "ask", address, "{connection_file}"]
        spec.write_text(json.dumps({"argv": command, "display_name": "Python 3", "language": "python"}))
        listener.bind(address)
        listener.listen()  # who asks before the libraries are there waits
        command = [sys.executable, "-m", "reprolib.warm", "serve", str(listener.fileno()), *libraries]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], env=os.environ | KEPT)
        before = os.environ.get("JUPYTER_PATH")
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (folder, before)))
        try:
            yield
        finally:
            os.environ.pop("JUPYTER_PATH") if before is None else os.environ.update(JUPYTER_PATH=before)
            server.stdin.close()  # its end, also where this process is killed
            server.wait()


def serve(listener: socket.socket, libraries: Sequence[str]) -> None:
    """Fork a kernel per connection until standard input ends; kernels under way go on as long as who asked.

    Returns in each forked process too, when its work is done: it then ends as any interpreter does.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started this, and ends standard input
    for name in libraries:
        with contextlib.suppress(ImportError):  # then the kernel fails as it would have
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a kernel then leaves the shared pages alone
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who look after kernels
    while listener in select.select([sys.stdin, listener], [], [])[0]:
        client, _ = listener.accept()
        if not os.fork():
            listener.close()
            return _look_after(client)
        client.close()


def _look_after(client: socket.socket) -> None:
    """Fork the kernel, tell its process id, then its exit status; kill it when who asked has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, files, *_ = socket.recv_fds(client, ASKED, 3)
    while not message.endswith(b"\n"):
        message += client.recv(ASKED)
    kernel = os.fork()
    if not kernel:
        client.close()
        return _kernel(files, **json.loads(message))
    for file in files:
        os.close(file)
    client.sendall(b"%d\n" % kernel)
    ended = os.pidfd_open(kernel)
    if ended not in select.select([ended, client], [], [])[0]:
        os.kill(kernel, signal.SIGKILL)
    _, status = os.waitpid(kernel, 0)
    with contextlib.suppress(OSError):  # who asked has ended
        client.sendall(b"%d" % os.waitstatus_to_exitcode(status))


def _kernel(files: list[int], *, folder: str, environment: dict[str, str], arguments: list[str]) -> None:
    """What `python -m ipykernel_launcher` does, in this process with the asker's folder, environment and files."""
    os.setsid()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, "")
    from ipykernel.kernelapp import IPKernelApp

    parent = f"--IPKernelApp.parent_handle={os.getppid()}"  # a kernel ends when that does
    IPKernelApp.launch_instance(argv=[*arguments, parent])


def ask(address: str, connection_file: str, *more: str) -> int:
    """Have a kernel forked and wait for its end; returns its exit status, or ends by its signal."""
    asked = {"folder": str(Path.cwd()), "environment": dict(os.environ), "arguments": ["-f", connection_file, *more]}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
        answer = server.makefile()
        kernel = int(answer.readline())
        signal.signal(signal.SIGINT, lambda *_: os.kill(kernel, signal.SIGINT))
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
