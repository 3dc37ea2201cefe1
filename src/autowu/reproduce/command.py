"""The command ``autowu reproduce``."""

from __future__ import annotations

import argparse
import math
import shlex
import sys
import time
from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from autowu.errors import UserError
from autowu.reproduce import jobs, plan, results, runner, sets
from autowu.reproduce.paper import TARGETS, cells
from autowu.reproduce.plan import Job
from autowu.reproduce.runner import Outcome, Study
from autowu.reproduce.scales import SCALES, Scale

if TYPE_CHECKING:
    from matplotlib.figure import Figure

UNFINISHED = 1
"""Exit status where cells are left."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of ``autowu reproduce``."""
    parser.description = (
        "Train the runs of the paper's tables and figures, and write the tables (Markdown) and the figures. "
        "What has been run is never run again; what was stopped goes on, bit for bit."
    )
    parser.add_argument(
        "targets", nargs="+", choices=tuple(TARGETS), metavar="TARGET", help=", ".join(TARGETS)
    )
    parser.add_argument(
        "--scale",
        choices=tuple(SCALES),
        default="paper",
        help="paper: its tasks at their size; mini: small ones, of the same updates in an epoch; tiny: "
        "whether everything works (default: %(default)s)",
    )
    parser.add_argument(
        "--only",
        type=lambda text: text.split(","),
        metavar="CELLS",
        help="names of cells, with * and ?, separated by commas; --dry-run lists them",
    )
    parser.add_argument(
        "--seeds", type=int, metavar="N", help="of each cell (default: as the paper has them)"
    )
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of the data sets: cifar10.npz, cifar100.npz, fashion-mnist.npz, or as torchvision keeps "
        "them, and imagenet/",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("reproduction"),
        metavar="DIR",
        help="where everything goes, a folder for each scale (default: %(default)s)",
    )
    parser.add_argument(
        "--minutes",
        type=float,
        default=math.inf,
        metavar="M",
        help="stop at checkpoints then (default: never)",
    )
    parser.add_argument(
        "--processes", type=int, default=1, metavar="N", help="cells at a time, on one device (default: 1)"
    )
    parser.add_argument(
        "--train",
        default="",
        metavar="FLAGS",
        help="flags of `autowu train` that say how a cell is computed, such as "
        '--train="--precision bf16-mixed --channels-last"',
    )
    parser.add_argument(
        "--any-commit", action="store_true", help="take what another commit has trained or begun, too"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="list the cells, their commands and hours; write nothing"
    )
    parser.add_argument(
        "--no-train", action="store_true", help="write tables and figures of what has been run, and stop"
    )
    parser.add_argument(
        "--jobs",
        choices=jobs.ENGINES,
        help="hand each cell in as a job of an array, by submitit: to SLURM, or to this machine, all at once",
    )
    parser.add_argument(
        "--job-option",
        action="append",
        type=jobs.option,
        default=[],
        metavar="NAME=VALUE",
        help="of submitit's executor, such as slurm_partition=gpu or slurm_array_parallelism=8",
    )


def run(args: argparse.Namespace) -> int:
    """Do as ``args`` say; 0 where all cells are done, 1 where some are left.

    Raises:
        UserError: a cell is unknown, data or results cannot be used, or a value is out of range.
    """
    for name in ("processes", "seeds"):
        value = getattr(args, name)
        if value is not None and value < 1:
            raise UserError(f"--{name} must be at least 1, not {value}")
    if not args.minutes > 0:
        raise UserError(
            f"--minutes must be a number above 0, not {args.minutes:g}; --no-train trains nothing"
        )
    if args.out.exists() and not args.out.is_dir():
        raise UserError(f"--out must be a folder, and {args.out} is a file")
    scale, more = SCALES[args.scale], plan.more_settings(args.train)
    by_target = {name: _jobs(name, scale, args.seeds, more) for name in dict.fromkeys(args.targets)}
    known = {job.cell.name: job for of in by_target.values() for job in of}
    wanted = _only(known, args.only)
    if args.dry_run:
        _show(by_target, wanted, scale, args)
        return 0
    commit = results.commit()
    folder = args.out / scale.name
    _check(wanted, by_target, folder)
    lines = results.read(folder, scale.name, None if args.any_commit else commit)
    outcome = Outcome()
    if not args.no_train:
        if (lacking := sets.missing((job.set for job in wanted), args.data)) is not None:
            where = "--data is missing; it" if args.data is None else f"--data {args.data}"
            raise UserError(f"{where} must have {lacking}")
        _folder(folder)
        if args.jobs is not None:
            return _submit(wanted, lines, folder, args)
        end = time.monotonic() + 60 * args.minutes
        outcome = runner.run(
            Study(wanted, folder, args.data, args.processes, end, commit, any_commit=args.any_commit)
        )
        lines = results.read(folder, scale.name, None if args.any_commit else commit)
    elif not folder.is_dir():
        raise UserError(f"{folder} does not exist: nothing has been run at this scale")
    for name, of in by_target.items():
        for path in write(name, scale, of, lines, folder):
            print(path)
    return _end(outcome)


def _jobs(target: str, scale: Scale, seeds: int | None, more: dict[str, Any]) -> list[Job]:
    of = {task: seeds or stand.seeds for task, stand in scale.tasks.items()}
    wanted = {task: of[task] for task in TARGETS[target].tasks if task in of}
    return [plan.job(cell, scale, more) for cell in cells(TARGETS[target], wanted)]


def _only(known: dict[str, Job], patterns: Sequence[str] | None) -> list[Job]:
    """The jobs whose names fit; all of them without patterns.

    Raises:
        UserError: a pattern fits none.
    """
    if patterns is None:
        return list(known.values())
    found = set[str]()
    for pattern in patterns:
        fitting = [name for name in known if fnmatchcase(name, pattern)]
        if not fitting:
            close = get_close_matches(pattern, known, 1, cutoff=0.3)
            hint = f"did you mean {close[0]}?" if close else "--dry-run lists them"
            raise UserError(f"--only: no cell {pattern!r} ({hint})")
        found.update(fitting)
    return [job for name, job in known.items() if name in found]


def _show(
    by_target: dict[str, list[Job]], wanted: Sequence[Job], scale: Scale, args: argparse.Namespace
) -> None:
    """What would be run, and an estimate of its time; nothing is written."""
    names = {job.cell.name for job in wanted}
    for job in wanted:
        job.settings()  # so that a wrong one is told
        command = shlex.join(["autowu", *job.command(job.set, args.out / scale.name / "runs" / job.folder)])
        print(f"{job.cell.name}  {scale.hours(job.cell):.2f} h\n    {command}")
    for target, of in by_target.items():
        hours = sum(scale.hours(job.cell) for job in of if job.cell.name in names)
        count = sum(1 for job in of if job.cell.name in names)
        print(f"{target}: {_count(count)}, about {hours:,.1f} hours of {scale.device}")
    total = sum(scale.hours(job.cell) for job in wanted)
    print(f"all: {_count(len(wanted))}, about {total:,.1f} hours of {scale.device}, each cell once")
    if (lacking := sets.missing((job.set for job in wanted), args.data)) is not None:
        print(f"still needed in --data: {lacking}")
    print("nothing was run, and nothing written")


def _submit(
    wanted: Sequence[Job], lines: Sequence[results.Result], folder: Path, args: argparse.Namespace
) -> int:
    """Hand in what is not done, each cell as this very command."""
    done = {(line.cell, line.key) for line in lines}
    left = [job for job in wanted if (job.cell.name, job.key) not in done]
    for name in dict.fromkeys(job.set for job in left):
        sets.ready(name, args.data, folder / "data")  # once, not in each job
    limit = args.minutes if math.isfinite(args.minutes) else 24 * 60
    commands = [_command(job, limit, args) for job in left]
    if commands:
        handed_in = jobs.submit(args.jobs, commands, folder / "jobs", limit, dict(args.job_option))
        for job, cell in zip(handed_in, left, strict=True):
            print(f"{job.job_id}  {cell.cell.name}")
    many = "1 job; when it is" if len(commands) == 1 else f"{len(commands):,} jobs; when they are"
    print(f"{many} done: autowu reproduce … --no-train")
    return UNFINISHED if commands else 0


def _command(job: Job, minutes: float, args: argparse.Namespace) -> list[str]:
    words = ["reproduce", *args.targets, "--scale", args.scale, "--only", job.cell.name]
    words += ["--out", str(args.out.resolve()), "--minutes", str(minutes)]
    words += ["--data", str(args.data.resolve())] if args.data is not None else []
    words += ["--seeds", str(args.seeds)] if args.seeds is not None else []
    words += [f"--train={args.train}"] if args.train else []
    return [*words, *(["--any-commit"] if args.any_commit else [])]


def write(
    name: str, scale: Scale, of: Sequence[Job], lines: Sequence[results.Result], folder: Path
) -> list[Path]:
    """The table of a target and its figure, if it is one; their paths.

    Raises:
        UserError: a file or a run folder cannot be used.
    """
    from autowu.report import output
    from autowu.reproduce import curves, grids, markdown

    target, found = TARGETS[name], markdown.found(of, lines)
    one_size = all(len(row.batch_sizes) == 1 for row in target.rows)
    text = (markdown.grid if one_size else markdown.page)(target, scale, of, lines)
    written = [folder / f"{name}.md"]
    output.write_text(written[0], text)
    if not name.startswith("figure") or not any(task in scale.tasks for task in target.tasks):
        return written
    picture = folder / f"{name}.svg"

    def draw() -> Figure:
        if name in curves.DRAWN:
            return curves.DRAWN[name](target, scale, curves.read(of, scale, folder / "runs"))
        return (grids.heat_map if name == "figure5" else grids.peak_lrs)(target, scale, found)

    output.write_picture(picture, "svg", draw)
    return [*written, picture]


def _check(wanted: Sequence[Job], targets: Iterable[str], folder: Path) -> None:
    """See that settings and names will do: before anything is written, and before hours of training.

    Raises:
        UserError: a setting is out of range, or a folder has the name of a file of a target.
    """
    for job in wanted:
        job.settings()
    for path in (folder / f"{target}.{kind}" for target in targets for kind in ("md", "svg")):
        if path.is_dir():
            raise UserError(f"{path} must be a file, and is a folder: move it out, or take another --out")


def _folder(folder: Path) -> None:
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}") from error


def _count(cells: int) -> str:
    return f"{cells:,} cell{'' if cells == 1 else 's'}"


def _end(outcome: Outcome) -> int:
    """Say what is left; the exit status."""
    for failed in outcome.failed:
        print(f"failed: {failed}", file=sys.stderr)
    if outcome.left:
        are = "is" if outcome.left == 1 else "are"
        print(
            f"{_count(outcome.left)} {are} left ({outcome.stopped} stopped at checkpoints, "
            f"{outcome.waiting} not begun, {len(outcome.busy)} with other processes, "
            f"{len(outcome.failed)} failed): the same command goes on",
            file=sys.stderr,
        )
    return UNFINISHED if outcome.left else 0
