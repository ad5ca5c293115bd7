"""Processes forked from a warm one: the same to a notebook or a command, and gone when they should be."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import nbformat
import pytest
from jupyter_client.manager import start_new_kernel

from reprolib.pipeline.warm import ADDRESS, command, warm_processes

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="forks only there")


@pytest.fixture(scope="module")
def warm():
    before = os.environ.get("JUPYTER_PATH")
    with warm_processes(["ipykernel.kernelapp", "colorsys", "no_such_library"]):
        yield
    assert os.environ.get("JUPYTER_PATH") == before


@pytest.fixture
def executed(tmp_path, warm):
    """Function that executes cells as a stage does and returns status, what was said, and the last cell's text."""

    def execute(*cells, **environment):
        parameters = nbformat.v4.new_code_cell("count = 1", metadata={"tags": ["parameters"]})
        made = nbformat.v4.new_notebook(cells=[parameters, *map(nbformat.v4.new_code_cell, cells)])
        made.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        nbformat.write(made, tmp_path / "in.ipynb")
        command = [sys.executable, "-m", "reprolib", "notebook", "in.ipynb", "out.ipynb", "count=3"]
        variables = os.environ | {"PYTHONPATH": str(ROOT)} | environment
        done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
        outputs = json.loads((tmp_path / "out.ipynb").read_text())["cells"][-1]["outputs"]
        return done.returncode, done.stdout + done.stderr, "".join("".join(one.get("text", "")) for one in outputs)

    return execute


def test_a_forked_kernel_has_the_libraries_and_the_askers_folder_environment_and_parameters(executed, tmp_path):
    shown = "import os, sys; print('colorsys' in sys.modules, os.getcwd(), os.environ['ASKED'], count, __name__)"
    status, said, text = executed(shown, ASKED="yes")
    assert status == 0, said
    assert text.split() == ["True", str(tmp_path), "yes", "3", "__main__"]


def test_it_holds_none_of_our_modules_and_shares_nothing_with_the_next(executed):
    ours = "import sys, json; json.left = True; print([name for name in sys.modules if name.startswith('reprolib.')])"
    assert executed(ours)[2].strip() == "['reprolib.pipeline']"  # the empty package that it stands in
    status, _, text = executed("import json, os; print(hasattr(json, 'left'), os.getpid() == os.getsid(0))")
    assert (status, text.split()) == (0, ["False", "True"])


def test_a_failing_cell_and_a_kernel_that_dies_end_the_stage(executed):
    status, said, _ = executed("1 / 0")
    assert status and "ZeroDivisionError" in said
    status, said, _ = executed("import os, signal; os.kill(os.getpid(), signal.SIGKILL)")
    assert status and "died" in said.lower()


def test_a_command_is_forked_with_the_libraries_and_ends_with_its_status(warm, tmp_path):
    shown = "import os, sys\nprint('colorsys' in sys.modules, os.getcwd(), *sys.argv[1:])\nsys.exit(3)"
    (tmp_path / "shown.py").write_text(shown)
    done = subprocess.run(command("shown", "a", "b c"), cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout.split()) == (3, ["True", str(tmp_path), "a", "b", "c"])
    (tmp_path / "shown.py").write_text("raise ValueError('no luck')")
    done = subprocess.run(command("shown"), cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 1 and "ValueError: no luck" in done.stderr


def test_an_interrupt_reaches_what_a_command_started(warm, tmp_path):
    text = "import subprocess\nchild = subprocess.Popen(['sleep', '60'])\nprint(child.pid, flush=True)\nchild.wait()"
    (tmp_path / "shown.py").write_text(text)
    with subprocess.Popen(
        command("shown"), cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as asking:
        child = int(asking.stdout.readline())
        asking.send_signal(signal.SIGINT)
        assert "KeyboardInterrupt" in asking.stderr.read()
    assert asking.returncode and not alive(child)


def test_verbs_ask_for_a_process_once(monkeypatch, tmp_path):
    verb = [sys.executable, "-m", "reprolib", "list", "--json"]
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        monkeypatch.setenv(ADDRESS, str(tmp_path / "socket"))
        with subprocess.Popen(verb) as asking:
            client, _ = listener.accept()
            asked = json.loads(client.makefile().readline())
            client.sendall(b"1\n5")
            client.close()
        assert asking.returncode == 5
    assert (asked["module"], asked["arguments"]) == ("reprolib", ["list", "--json"])
    assert ADDRESS not in asked["environment"]
    # Nobody is there any more: it does the work itself.
    assert json.loads(subprocess.run(verb, capture_output=True, check=True).stdout)


def test_kernels_end_with_who_asked(warm, tmp_path):
    spec = Path(os.environ["JUPYTER_PATH"].split(os.pathsep)[0]) / "kernels/python3/kernel.json"
    file = tmp_path / "connection.json"
    command = [str(file) if part == "{connection_file}" else part for part in json.loads(spec.read_text())["argv"]]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as asking:
        wait_for(lambda: file.is_file() and file.read_text().endswith("}"))
        kernels = holding(str(file))
        assert kernels
        asking.send_signal(signal.SIGKILL)
    wait_for(lambda: not any(map(alive, kernels)))


def test_an_interrupt_reaches_the_cell_and_exit_statuses_come_through(warm):
    manager, client = start_new_kernel(kernel_name="python3", extra_arguments=["--IPKernelApp.log_level=40"])
    try:
        client.execute("import time; print('begun', flush=True); time.sleep(60)", stop_on_error=False)
        while "begun" not in str(client.get_iopub_msg(timeout=30)["content"]):
            pass
        time.sleep(0.5)  # until it sleeps: an interrupt within ipykernel's own printing is not the cell's
        manager.interrupt_kernel()
        assert client.get_shell_msg(timeout=30)["content"]["ename"] == "KeyboardInterrupt"
        process = manager.provisioner.process
        client.execute("import os; os._exit(7)")
        wait_for(lambda: process.poll() is not None)
        assert process.returncode == 7
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


def holding(word):
    """Processes that listen on the ports of a connection file: forked ones, whose command line is the server's."""
    ports = {value for key, value in json.loads(Path(word).read_text()).items() if key.endswith("_port")}
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    inodes = {line.split()[9] for line in lines if int(line.split()[1].split(":")[1], 16) in ports}
    names = [path.name for path in Path("/proc").iterdir()]
    return [pid for pid in map(int, filter(str.isdigit, names)) if inodes & sockets(pid)]


def sockets(pid):
    try:
        links = [str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return set()
    return {link[8:-1] for link in links if link.startswith("socket:[")}


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_for(condition, *, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.05)
