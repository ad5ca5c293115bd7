"""Processes that need not import torch: forked from one that has, while `reprolib repro` works.

`warm_processes` starts `python -m reprolib.pipeline.warm serve SOCKET`, which imports the libraries once and forks a
process for whoever asks: the pipeline's commands, dvc itself and the notebooks' kernels. It imports nothing of
reprolib, so that each runs the code that is on disk when it starts. Who asks waits for the process and ends with its
status: a usual process, and interrupting or killing it does so to the other. Jupyter finds its kernels by a kernelspec
`python3` ahead of the others, whose command asks.

A kernel provisioner of Jupyter's would need the same server, and an entry point that is there only once installed.
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

# What the notebooks, verbs and dvc load. None of them computes, starts a thread that matters or touches a GPU on
# import: a process that has initialised CUDA must not be forked.
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
# glibc gives freed memory back, and a training step asks for it again: kept, there are 60 % fewer page faults.
KEPT = {"MALLOC_TRIM_THRESHOLD_": str(2**31 - 1), "MALLOC_TOP_PAD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**25)}
PARENT = "{parent}"  # in an argument: the id of the process that looks after the one that is forked
ASKED = 1 << 20  # bytes read at once of a request: folder, environment, arguments


@contextlib.contextmanager
def warm_processes(libraries: Sequence[str] = LIBRARIES) -> Iterator[None]:
    """Let commands of `command`, reprolib's verbs and notebooks that start within be forked from a process that has
    `libraries`.

    They are usual processes where these cannot be forked safely: Windows, macOS.
    """
    if not sys.platform.startswith("linux"):
        yield
        return
    with tempfile.TemporaryDirectory(prefix="reprolib-") as folder, socket.socket(socket.AF_UNIX) as listener:
        address = f"{folder}/socket"
        spec = Path(folder) / "kernels" / "python3" / "kernel.json"
        spec.parent.mkdir(parents=True)
        kernel = [*_asking(address, "ipykernel_launcher"), "-f", "{connection_file}"]
        kernel.append(f"--IPKernelApp.parent_handle={PARENT}")  # a kernel ends when that does
        spec.write_text(json.dumps({"argv": kernel, "display_name": "Python 3", "language": "python"}))
        listener.bind(address)
        listener.listen()  # who asks before the libraries are there waits
        serving = [sys.executable, "-m", "reprolib.pipeline.warm", "serve", str(listener.fileno()), *libraries]
        server = subprocess.Popen(serving, stdin=subprocess.PIPE, pass_fds=[listener.fileno()], env=os.environ | KEPT)
        before = {name: os.environ.get(name) for name in ("JUPYTER_PATH", ADDRESS)}
        os.environ["JUPYTER_PATH"] = os.pathsep.join(filter(None, (folder, before["JUPYTER_PATH"])))
        os.environ[ADDRESS] = address
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
            server.stdin.close()  # its end, also where this process is killed
            server.wait()


def command(module: str, *arguments: str) -> list[str]:
    """`python -m module arguments`, forked from a warm process where there is one."""
    address = os.environ.get(ADDRESS)
    return [*(_asking(address, module) if address else (sys.executable, "-m", module)), *arguments]


def _asking(address: str, module: str) -> list[str]:
    return [sys.executable, "-I", "-S", __file__, "ask", address, module]


def serve(listener: socket.socket, libraries: Sequence[str]) -> None:
    """Fork a process per connection until standard input ends; those under way go on as long as who asked.

    Returns in each forked process too, when its work is done.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for who started this, and ends standard input
    for name in libraries:
        with contextlib.suppress(ImportError):  # then the process fails as it would have
            importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a process then leaves the shared pages alone
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those who look after processes
    while listener in select.select([sys.stdin, listener], [], [])[0]:
        client, _ = listener.accept()
        if not os.fork():
            listener.close()
            return _look_after(client)
        client.close()


def _look_after(client: socket.socket) -> None:
    """Fork the process, tell its id, then its exit status; kill it and what it started when who asked has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    message, files, *_ = socket.recv_fds(client, ASKED, 3)
    while not message.endswith(b"\n"):
        message += client.recv(ASKED)
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
    with contextlib.suppress(OSError):  # who asked has ended
        client.sendall(b"%d" % os.waitstatus_to_exitcode(status))


def _run(files: list[int], *, folder: str, environment: dict[str, str], module: str, arguments: list[str]) -> None:
    """What `python -m module` does, in this process with the asker's folder, environment and files."""
    os.setsid()
    for target, file in enumerate(files):
        os.dup2(file, target)
        os.close(file)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.path.insert(0, "")
    sys.argv = [module, *(one.replace(PARENT, str(os.getppid())) for one in arguments)]
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        status = 0
    except SystemExit as end:
        if end.code is not None and not isinstance(end.code, int):
            raise
        status = end.code or 0
    # What an interpreter does at its end, but for taking the libraries down object by object: 0.4 s.
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # who listened has ended
            stream.flush()
    os._exit(status)


def ask(address: str, module: str, *arguments: str) -> int:
    """Have `python -m module arguments` forked and wait for its end; returns its status, or ends by its signal.

    Raises OSError where nobody listens at the address.
    """
    asked = {"folder": str(Path.cwd()), "environment": dict(os.environ), "module": module, "arguments": arguments}
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        socket.send_fds(server, [json.dumps(asked).encode() + b"\n"], [0, 1, 2])
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
