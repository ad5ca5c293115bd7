"""Hand orders to a scheduler through submitit: `python -m reprolib.pipeline.submit.send REQUEST.json`.

A process of its own, in a session of its own: jobs of submitit's local executor are children of the process that
starts them, and ctrl-C in the leader's terminal must not reach them.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from reprolib.files import write_json
from reprolib.pipeline.submit.order import SubmitError

CLUSTERS = ("slurm", "local")


def default_cluster() -> str:
    return "slurm" if shutil.which("sbatch") else "local"


def send(
    folders: Sequence[Path], *, scratch: Path, cluster: str, parameters: Mapping[str, object]
) -> list[dict[str, object]]:
    """Hand the orders in `folders` to a scheduler, as one job array under Slurm; returns a job for each.

    scratch: for submitit's scripts, pickles and logs. parameters: as submitit's AutoExecutor takes them.
    Raises SubmitError where it refuses them.
    """
    place = scratch / f"{time.strftime('%Y%m%d-%H%M%S')}-{uuid.uuid4().hex[:8]}"
    request = {
        "cluster": cluster,
        "parameters": dict(parameters),
        "folders": [str(folder.resolve()) for folder in folders],
    }
    write_json(place / "request.json", request)
    with (place / "send.log").open("w") as log:  # a pipe would stay open for as long as the jobs run
        command = [sys.executable, "-m", "reprolib.pipeline.submit.send", str(place / "request.json")]
        status = subprocess.run(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
        ).returncode
    if status:
        said = (place / "send.log").read_text().rpartition("Traceback")[2].splitlines()[1:]
        said = [line for line in said if line[:1].strip()]  # the error, without the lines of code before it
        raise SubmitError(f"{cluster} took no job: {said[0] if said else f'status {status}'} (see {place}/send.log)")
    identities = json.loads((place / "jobs.json").read_text())
    common = {"cluster": cluster, "host": socket.gethostname(), "submitted": time.time(), "logs": str(place)}
    return [common | {"id": identity} for identity in identities]


def main(request: Path) -> None:
    import submitit

    from reprolib.pipeline.submit.worker import Work

    wanted = json.loads(request.read_text())
    place = request.parent.resolve()
    executor = submitit.AutoExecutor(folder=place, cluster=wanted["cluster"])
    executor.update_parameters(**wanted["parameters"])
    jobs = executor.map_array(Work(), wanted["folders"])
    write_json(place / "jobs.json", [job.job_id for job in jobs])
    sys.stdout.flush()
    os._exit(0)  # submitit's local jobs go on without this process


if __name__ == "__main__":
    main(Path(sys.argv[1]))
