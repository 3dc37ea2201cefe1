"""What needs a GPU, in the order in which little time goes furthest. Two commands, each for some minutes:

    python experiments/gpu.py text   --data DIR --out OUT --minutes 6
    python experiments/gpu.py images --data DIR --out OUT --minutes 8

Run them in the repository, with ``src`` on the path or the package installed. DIR has ``shakespeare.txt``
and, for the second, ``cifar10.npz`` (see benchmarks/quality); it also gets what is made on the way. OUT gets

    gpu.json            benchmarks/gpu.py: the trainer's speed, its share of the chip's, AutoWU's time, waits
    large/*.jsonl       records of benchmarks/quality, suite large: the GPT's, then ResNet-18's by batch size
    schedules.json, .md the recipe cifar10-cnn with each schedule, and longer with the paper's preset
    log.txt             what all of them printed, tests/train/test_gpu.py among them

`text` does the speed, the tests and the GPT; `images` the rest. Runs of the study go on side by side, since
one alone leaves parts of a large GPU idle. Of ResNet-18 each batch size comes after the one before: AutoWU
and the paper's preset, the search, then the tuned baseline and the seeds that are left. What is not done when
time is up is not done: the records say what is, and the same command goes on from there.
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
STOPPING = 20.0  # seconds before the end at which runs are stopped: their last update, and a checkpoint
TUNED = ("tuned 1", "tuned 5")
TRIALS = 5  # of ResNet-18's search; the GPT's has as many as the suite says

PROBE = """
import multiprocessing, os, sys
os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"
from concurrent.futures import ProcessPoolExecutor
import torch
from benchmarks.quality import runner
context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(runner.PRELOADED)
with ProcessPoolExecutor(1, mp_context=context) as pool:
    pool.submit(torch.cuda.mem_get_info).result()
"""


class Session:
    """Some minutes on one machine: commands in the repository, and one log of what they print."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.data, self.out, self.processes = options.data, options.out, options.processes
        self.suite, self.end = options.suite, time.time() + 60 * options.minutes
        self.out.mkdir(parents=True, exist_ok=True)
        self.log = (self.out / "log.txt").open("a")
        path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
        self.environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
        self.start: list[str] = []

    @property
    def left(self) -> float:
        """Minutes to train in."""
        return (self.end - STOPPING - time.time()) / 60

    def say(self, text: str) -> None:
        """To the terminal and to the log."""
        line = f"[{self.left:5.1f} min left] {text}"
        print(line, flush=True)
        print(line, file=self.log, flush=True)

    def run(self, *command: object, seconds: float | None = None) -> int:
        """A Python command; its exit status. What it prints goes to the log; its last line is shown."""
        words = [sys.executable, *map(str, command)]
        shown = shlex.join(words[1:] if command[0] != "-c" else ["the probe of forked processes"])
        began = time.time()
        process = subprocess.Popen(
            words,
            cwd=ROOT,
            env=self.environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        # All of its processes, since any of them may hold the pipe.
        stop = partial(os.killpg, process.pid, signal.SIGKILL)
        limit = threading.Timer(seconds or max(5.0, self.end - began), stop)
        limit.start()
        last = ""
        assert process.stdout is not None
        for line in process.stdout:
            self.log.write(line)
            self.log.flush()
            last = line.strip() or last
        limit.cancel()
        status = process.wait()
        self.say(f"{shown}: status {status}, {time.time() - began:.0f} s: {last[-160:]}")
        return status

    def study(self, part: str, workload: str, processes: int, *more: object) -> None:
        """A part of the study, as far as there is time for it."""
        if self.left < 0.1:
            self.say(f"no time for {part} of {workload}")
            return
        command: list[object] = ["-m", "benchmarks.quality", "run", part, "--suite", self.suite]
        command += ["--only", workload, "--processes", processes, "--minutes", f"{self.left:.2f}"]
        command += ["--data", self.data, "--work", self.data / f"work-{part}", *self.start, *more]
        self.run(*command, "--results", self.out / "large")

    def probe(self) -> None:
        """Whether forked processes can use the GPU; if not, each starts anew."""
        if self.run("-c", "import torch; assert torch.cuda.is_available()", seconds=60):
            self.say("no GPU: this only tries the commands")
        elif self.run("-c", PROBE, seconds=90):
            self.start = ["--start", "spawn"]


def text(session: Session, options: argparse.Namespace) -> None:
    speed = ["-m", "benchmarks.gpu", "--output", session.out / "gpu.json", *shlex.split(options.speed)]
    session.run(*speed, seconds=300)
    session.probe()
    tests = ["-m", "pytest", "-W", "default", "-p", "no:cacheprovider", "tests/train/test_gpu.py", "-v"]
    beside = threading.Thread(target=session.run, args=tests, kwargs={"seconds": 200})
    beside.start()
    session.study("search", options.text, session.processes)
    session.study("compare", options.text, session.processes)
    beside.join()


def images(session: Session, options: argparse.Namespace) -> None:
    session.probe()
    table = ["experiments/schedules.py", "cifar10-cnn", "--data", session.data / "cifar10.npz"]
    table += ["--out", session.data / "schedules", "--minutes", f"{session.left:.2f}", *options.schedules]
    beside = threading.Thread(target=session.run, args=table)
    beside.start()
    session.run(
        *("-m", "benchmarks.quality", "prepare", "--suite", session.suite, "--data", session.data),
        *("--only", *options.images),
    )
    of = ["--trials", TRIALS, "--methods", "autowu", "paper"]
    for number, workload in enumerate(options.images):
        seeds, part = (2, session.processes // 3) if number == 0 else (1, 2)
        ours = threading.Thread(target=session.study, args=("compare", workload, part, "--seeds", seeds, *of))
        ours.start()
        if number:  # there will hardly be time for a search: what needs none comes first
            ours.join()
        session.study("search", workload, session.processes - part, "--trials", TRIALS)
        ours.join()
        session.study("compare", workload, session.processes, *of, *TUNED)
    beside.join()
    for name in ("schedules.json", "schedules.md"):
        if (made := session.data / "schedules" / name).exists():
            (session.out / name).write_text(made.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("text", "images"))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--processes", type=int, help="runs of the study at a time (text: 6, images: 5)")
    parser.add_argument("--speed", default="", help="of benchmarks.gpu, as --speed='--compile --loader'")
    parser.add_argument("--suite", default="large", help="small: to try the commands on a CPU")
    parser.add_argument("--text", default="shakespeare-gpt-10m", help="workload")
    sizes = [f"cifar10-resnet18-{size}" for size in (1024, 4096, 16384)]
    parser.add_argument("--images", nargs="+", default=sizes, help="workloads")
    parser.add_argument("--quick-schedules", action="store_true", help="two, to try the command")
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()
    options.schedules = ["--processes", "4", "--longer", "paper:30", "paper:100"]
    if options.quick_schedules:
        options.schedules = ["--only", "autowu", "constant"]
    options.processes = options.processes or {"text": 6, "images": 5}[options.what]
    session = Session(options)
    (text if options.what == "text" else images)(session, options)
    session.say("done")


if __name__ == "__main__":
    main()
