"""A host in several processes, each with its own losses; under torchrun this module is one of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import limits
from integrations.contract.contract import Host


def train(host: Host, losses: Sequence[Sequence[float]], folder: Path, **arguments: Any) -> list[list[float]]:
    """The LRs of each rank of a run of ``host`` in new processes, one for each row of losses.

    Args:
        arguments: of :meth:`integrations.contract.contract.Host.train`, the same for all ranks.
    """
    job = {
        "driver": type(host).__module__,
        "host": host.name,
        "losses": [list(row) for row in losses],
        "arguments": arguments,
    }
    (folder / "job.json").write_text(json.dumps(job))
    launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={len(losses)}"]
    tests = Path(__file__).parents[1]
    path = [str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]
    done = subprocess.run(
        [sys.executable, *launch, "-m", "integrations.ranks", str(folder)],
        check=False,
        cwd=tests,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(path)},
        capture_output=True,
        text=True,
        timeout=limits.HANG,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads((folder / f"lrs-{rank}.json").read_text()) for rank in range(len(losses))]


def main(folder: Path) -> None:
    """Be one rank of the job described in ``folder``."""
    from autowu.integrations import torchvision_shim

    torchvision_shim.install()
    job, rank = json.loads((folder / "job.json").read_text()), int(os.environ["RANK"])
    host: Host = next(host for host in import_module(job["driver"]).HOSTS if host.name == job["host"])
    lrs = host.train(job["losses"][rank], folder, **job["arguments"])
    (folder / f"lrs-{rank}.json").write_text(json.dumps(lrs))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
