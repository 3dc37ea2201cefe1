"""What the trainer and AutoWU cost on a GPU: against a loop by hand, against the chip, and in waits for it.

    python -m benchmarks.gpu --output FILE.json [--compile] [--loader] [--quick] [--device cuda]

Rows, as in the other benchmarks: an update by the trainer's loop against the same update by a loop written by
hand (bf16-mixed, channels-last, images of CIFAR-10's size made here), in turn, by a clock that waits for the
device; and AutoWU's time in a whole run, the copies of a ResNet-18 and of its optimizer's state included,
held against that update. Beside the rows, in the file:

    peak    bf16 TFLOP/s of a large matrix product of random numbers, and the share of it that training has:
            the FLOPs of convolutions and products (forward, and both of backward) that PyTorch counts
    waits   how often the host waited for the device: between AutoWU's tests (0, or it is a bug), and at tests
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import math
import platform
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.flop_counter import FlopCounterMode

import autowu
from autowu.train import models
from autowu.train.data import load
from autowu.train.run import engine, loop
from autowu.train.run.processes import fabric_for
from autowu.train.run.run import Run
from autowu.train.settings.options import Settings
from benchmarks import loader
from benchmarks.curves import falling
from benchmarks.timing import Row, Timing, table

SLOWER: Final = 1 / 0.97
"""The bar: 0.97 of the throughput of the loop by hand, at least."""


@dataclass(frozen=True)
class Case:
    """A model, and how many images an update takes."""

    model: str
    batch: int
    updates: int
    """In one repetition."""
    compile: bool = False

    @property
    def name(self) -> str:
        """As the rows have it."""
        return f"{self.model}{', compiled' if self.compile else ''}, batch size {self.batch}"


CASES: Final = (
    Case("resnet18-cifar", 1024, 20),
    Case("wide-resnet-28-10", 256, 12),
    Case("resnet18-cifar", 128, 50),  # so small that the host's own work shows
)
COMPILED: Final = Case("resnet18-cifar", 1024, 20, compile=True)
TINY: Final = (Case("cnn", 32, 3), Case("resnet18-cifar", 4, 2))


def settings_for(case: Case, data: str, out: str, steps: int, **more: Any) -> Settings:
    chosen: dict[str, Any] = {"optimizer": "adamw", "schedule": "constant", "compile": case.compile}
    return Settings(
        data=data,
        model=case.model,
        batch_size=case.batch,
        steps=steps,
        out=out,
        precision="bf16-mixed",
        channels_last=True,
        eval_every=10**6,
        **chosen | more,
    )


def images(folder: Path, count: int) -> str:
    """A data set of noise; its file."""
    random, path = np.random.default_rng(0), folder / f"noise{count}.npz"
    if not path.exists():
        x = random.integers(0, 256, (count + 64, 32, 32, 3), dtype=np.uint8)
        y = np.arange(count + 64) % 10
        np.savez(path, x_train=x[:count], y_train=y[:count], x_test=x[count:], y_test=y[count:])
    return str(path)


# --- the loop against one by hand -------------------------------------------------------------------------


def compared(case: Case, folder: Path, device: torch.device, repetitions: int) -> Row:
    """Both in turn; the first time, which compiles and fills caches, is left out."""
    data = images(folder, 8 * case.batch)
    steps = (repetitions + 1) * case.updates
    run = prepared(settings_for(case, data, str(folder / case.name), steps))
    bare = by_hand(run.settings, device)
    ours: list[float] = []
    peer: list[float] = []
    for repetition in range(repetitions + 1):
        for train, seconds in ((lambda: advance(run, case.updates), ours), (bare, peer)):
            gc.collect()
            begin = clock(device)
            if train is bare:
                for _ in range(case.updates):
                    bare()
            else:
                train()
            if repetition:
                seconds.append((clock(device) - begin) / case.updates)
    run.task.close()
    run.log.close()
    row = Row(
        f"an update by the trainer, {case.name}; peer: a loop by hand",
        Timing(tuple(ours)),
        Timing(tuple(peer)),
        slower=SLOWER,
    )
    assert row.peer is not None
    rates = [f"{case.batch / timing.median:,.0f}" for timing in (row.ours, row.peer)]
    note = f"0.97 of its throughput, at least; {rates[0]} and {rates[1]} images a second"
    return Row(row.what, row.ours, row.peer, slower=SLOWER, note=note)


def prepared(settings: Settings) -> Run:
    with redirect_stdout(StringIO()):
        return engine.set_up(settings, fabric_for(settings), resume=False)


def advance(run: Run, updates: int) -> None:
    """So many updates by the trainer's loop: data, log, signals, progress; no evaluation, no checkpoint."""
    kept = loop.report, loop.saving.save
    loop.report = loop.saving.save = lambda *_: None
    try:
        with redirect_stdout(StringIO()):
            loop.fit(run, updates)
    finally:
        loop.report, loop.saving.save = kept


def by_hand(settings: Settings, device: torch.device) -> Callable[[], None]:
    """One update after the other on the same images, with nothing but PyTorch."""
    torch.manual_seed(0)
    task = load(settings)
    with np.load(settings.data) as arrays:
        pixels = torch.from_numpy(arrays["x_train"]).permute(0, 3, 1, 2).contiguous().to(device)
        labels = torch.from_numpy(arrays["y_train"]).to(device)
    mean = pixels.float().mean((0, 2, 3), keepdim=True)
    scale = 1 / pixels.float().std((0, 2, 3), keepdim=True)
    network = models.build(settings, task).to(device, memory_format=torch.channels_last)
    model: Any = torch.compile(network) if settings.compile else network
    optimizer = torch.optim.AdamW(network.parameters())
    scheduler = CosineAnnealingLR(optimizer, 10**6)

    def batches() -> Iterator[torch.Tensor]:
        while True:
            yield from torch.randperm(len(pixels), device=device).split(settings.batch_size)

    order = batches()

    def update() -> None:
        index = next(order)
        inputs = (pixels[index] - mean) * scale
        with torch.autocast(device.type, torch.bfloat16):
            outputs = model(inputs)
        loss = functional.cross_entropy(outputs.float(), labels[index], label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        scheduler.step()

    return update


def clock(device: torch.device) -> float:
    """The time that passes, once the device has done all that it was asked for."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


# --- against the chip -------------------------------------------------------------------------------------


def flops_per_image(case: Case, folder: Path, device: torch.device) -> int:
    """Of an update: forward and backward, of convolutions and matrix products."""
    task = load(settings_for(case, images(folder, 8 * case.batch), "", 1))
    network = models.build(settings_for(case, "", "", 1), task).to(device)
    inputs = torch.rand(4, *task.input_shape, device=device)
    with FlopCounterMode(display=False) as counter:
        functional.cross_entropy(network(inputs), torch.arange(4, device=device)).backward()
    return counter.get_total_flops() // 4


def matrix_product(device: torch.device, size: int) -> float:
    """FLOP a second of (size × size)², bf16, random numbers; the median of ten."""
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    seconds: list[float] = []
    for _ in range(13):
        begin = clock(device)
        for _ in range(5):
            a @ b
        seconds.append((clock(device) - begin) / 5)
    return 2 * size**3 / float(np.median(seconds[3:]))


def of_peak(rows: dict[Case, Row], folder: Path, device: torch.device, size: int) -> dict[str, Any]:
    peak = matrix_product(device, size)
    found: dict[str, Any] = {"bf16 TFLOP/s": peak / 1e12, "of": f"a product of {size} × {size} matrices"}
    for case, row in rows.items():
        flops = flops_per_image(case, folder, device)
        found[case.name] = {
            "GFLOP an image": flops / 1e9,
            "share": case.batch * flops / row.ours.median / peak,
            "share of the loop by hand": case.batch * flops / row.peer.median / peak if row.peer else None,
        }
    return found


# --- AutoWU -----------------------------------------------------------------------------------------------


def share(case: Case, update: float, total_steps: int, folder: Path, device: torch.device) -> Row:
    """AutoWU's time in a whole run of this model, for each update; losses on the device, and copies too."""
    settings = settings_for(case, images(folder, 8 * case.batch), "", 1)
    network = models.build(settings, load(settings)).to(device)
    losses = torch.tensor(falling(total_steps), dtype=torch.float32, device=device).unbind()
    seconds: list[float] = []
    for _ in range(3):
        optimizer = torch.optim.AdamW(network.parameters())
        for parameter in network.parameters():
            parameter.grad = torch.zeros_like(parameter)
        optimizer.step()
        scheduler = autowu.AutoWU(optimizer, total_steps=total_steps, model=network)
        gc.collect()
        begin = clock(device)
        for loss in losses:
            scheduler.step(loss)
        seconds.append((clock(device) - begin) / total_steps)
        assert scheduler.phase == "decay"
    took = Timing(tuple(seconds))
    return Row(
        f"AutoWU in a whole run of {total_steps:,} updates, {case.model}, for each; "
        f"bar: 0.1% of an update of {1e3 * update:.3g} ms",
        took,
        limit=1e-3 * update,
        note=f"{100 * took.median / update:.3f}%, {len(scheduler.verdicts)} tests",
    )


# --- waits ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def waits() -> Iterator[list[str]]:
    """Where the host waits for the device, as PyTorch's ``set_sync_debug_mode`` sees it."""
    found: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode("default")
            for each in caught:
                if "synchronizing CUDA operation" in str(each.message):
                    found.append("/".join([*Path(each.filename).parts[-2:], str(each.lineno)]))


def waits_of_training(folder: Path, count: int, **more: Any) -> dict[str, Any]:
    """In a run of the trainer with AutoWU: between the tests, at tests, and where the log is written."""
    case = Case("cnn", 128, 0)
    chosen = {"schedule": "autowu"} | more
    name = "-".join(map(str, more.values()))
    run = prepared(settings_for(case, images(folder, 1024), str(folder / name), count, **chosen))
    schedule: Any = run.method.schedule
    decide, write = schedule._decide, run.write_events
    at: dict[str, list[str]] = {"tests": [], "the log": []}
    reads = copies = 0

    def spied(place: str, call: Callable[[], Any]) -> Any:
        with waits() as found:
            outcome = call()
        at[place] += found
        torch.cuda.set_sync_debug_mode("warn")  # of the one around
        return outcome

    def deciding() -> bool:
        nonlocal reads, copies
        outcome = spied("tests", decide)
        reads += 1
        state = schedule._session.state
        copies += state.snapshot_step == state.step
        return outcome

    schedule._decide = deciding
    run.write_events = lambda: spied("the log", write)
    with waits() as between:
        advance(run, count)
    run.log.close()
    return {
        "updates": count,
        "between tests": len(between),
        "where": dict(Counter(between).most_common(12)),
        "reads of losses": reads,
        "copies for rewinding": copies,
        "at these": len(at["tests"]),
        "for the log": len(at["the log"]),
    }


# --- all of it --------------------------------------------------------------------------------------------


def machine(device: torch.device) -> dict[str, Any]:
    packages = ("numpy", "torch", "timm", "lightning-fabric")
    gpu = device.type == "cuda"
    return {
        "command": " ".join(["python -m benchmarks.gpu", *sys.argv[1:]]),
        "device": torch.cuda.get_device_name(device) if gpu else device.type,
        "clock": "wall clock, the device waited for",
        "python": platform.python_version(),
        "versions": {"autowu": autowu.__version__}
        | {package: found for package in packages if (found := _version(package))},
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version() if gpu else None,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except ImportError:  # PackageNotFoundError
        return None


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gpu", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--device", default="cuda", help="cpu: to try the program, not to measure")
    parser.add_argument("--quick", action="store_true", help="tiny models, few repetitions")
    parser.add_argument("--compile", action="store_true", help="also compiled models, which takes minutes")
    parser.add_argument("--loader", action="store_true", help="also what data cost (benchmarks/loader.py)")
    parser.add_argument("--output", type=Path, help="JSON file to write")
    options = parser.parse_args()
    device = torch.device(options.device)
    torch.set_num_threads(1)
    cases = TINY if options.quick else (*CASES, *([COMPILED] if options.compile else []))
    found: dict[str, Any] = {"machine": machine(device), "rows": []}

    def keep(**more: Any) -> None:
        """Write what there is: a later part may fail, or time run out."""
        found.update(more)
        if options.output:
            options.output.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n")

    with tempfile.TemporaryDirectory() as name:
        folder, rows = Path(name), dict[Case, Row]()
        if device.type == "cuda":
            kinds = (
                {"optimizer": "adamw"},
                {"optimizer": "adamp", "augment": "cifar"},
                {"optimizer": "lamb"},
            )
            keep(waits={", ".join(k.values()): waits_of_training(folder, 600, **k) for k in kinds})
            print(json.dumps(found["waits"], indent=2))
        more: list[Row] = []
        for case in cases:
            rows[case] = compared(case, folder, device, 2 if options.quick else 9)
            print(table([rows[case]]), flush=True)
            keep(rows=[row.to_json() for row in rows.values()])
        for steps in (2_000,) if options.quick else (12_000, 120_000):
            more.append(share(cases[0], rows[cases[0]].ours.median, steps, folder, device))
        keep(rows=[row.to_json() for row in (*rows.values(), *more)])
        keep(peak=of_peak(rows, folder, device, 256 if options.quick else 8192))
        data = loader.rows(device, 2 if options.quick else 5, quick=options.quick) if options.loader else ()
        for row in data:
            more.append(row)
            print(table([row]), flush=True)
            keep(rows=[row.to_json() for row in (*rows.values(), *more)])
    print(table([*rows.values(), *more]))
    print(json.dumps(found["peak"], indent=2))
    assert all(math.isfinite(row.ours.median) for row in rows.values())


if __name__ == "__main__":
    main()
