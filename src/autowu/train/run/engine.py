"""Sets up a run, in each of its processes, and trains."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final, cast

import torch
from torch import Tensor, nn

from autowu.runlog.writer import outcome
from autowu.train import data, models, schedules
from autowu.train.checkpoints import saving
from autowu.train.data import Share
from autowu.train.data.task import Task
from autowu.train.output import loggers, progress
from autowu.train.output.log import RunLog, machine, versions
from autowu.train.output.loggers import Loggers
from autowu.train.output.progress import Silent
from autowu.train.run import before, loop
from autowu.train.run.ending import Ending
from autowu.train.run.events import Events
from autowu.train.run.processes import end_children, fabric_for, launch, leave
from autowu.train.run.randomness import seed_for
from autowu.train.run.ranks import says
from autowu.train.run.run import Run
from autowu.train.run.signals import StopRequest
from autowu.train.settings.options import EPOCHS, Settings

if TYPE_CHECKING:
    from lightning_fabric import Fabric

EVALUATIONS: Final = 20  # of a text, which has no epochs
UPDATES: Final = 250  # from one evaluation to the next, of a text without a known end


def train(settings: Settings, *, resume: bool = False) -> tuple[dict[str, Any], int | None]:
    """Train as ``settings`` say, write the run folder, show progress.

    The same settings give the same losses, bit for bit, on the same machine with the same versions, however
    often the run was stopped and resumed.

    Args:
        settings: the run's.
        resume: go on from the newest checkpoint of the run folder, if there is one.

    Returns:
        The metrics of ``run.json`` (empty if the run was stopped), and the signal that stopped it, if any.

    Raises:
        UserError: the data, the run folder or the settings cannot be used.
    """
    began, folder = time.monotonic(), settings.folder
    if finished := before.finished(settings, resume=resume):
        if says():
            print(f"{folder} holds a finished run: --resume has nothing to do", flush=True)
        return finished, None
    loggers.check(settings.logger)
    fabric = fabric_for(settings)
    launch(fabric)
    try:
        outcome = _train(settings, fabric, began, resume=resume)
        leave(fabric)
    except BaseException:
        end_children(fabric)
        raise
    return outcome


def _train(
    settings: Settings, fabric: Fabric, began: float, *, resume: bool
) -> tuple[dict[str, Any], int | None]:
    torch.set_num_threads(settings.threads)
    run = set_up(settings, fabric, began, resume=resume)
    with run.stop:
        try:
            stopped = loop.fit(run)
            if stopped is None:
                run.loggers.finish(metrics_of(run))
                run.log.finish(metrics_of(run))  # while no other process can write to the folder
        finally:
            run.progress.close()
            run.task.close()
            run.log.close()
            run.loggers.close()
    if stopped is not None:
        run.progress.stopped(run.step)
        return {}, stopped
    metrics = metrics_of(run)
    run.progress.finish(metrics, settings.folder)
    run.ending.finish(run)
    return metrics, None


def set_up(settings: Settings, fabric: Fabric, began: float | None = None, *, resume: bool) -> Run:
    """Everything that belongs to a run, at its beginning or at its newest checkpoint."""
    folder = settings.folder
    task = load(settings, fabric)
    total_steps = updates(settings, task)
    torch.manual_seed(seed_for(settings.seed, "weights"))
    network: nn.Module = models.build(settings, task).to(fabric.device)
    if settings.channels_last:
        _to_channels_last(network)
    forward: Any = torch.compile(network) if settings.compile else network
    model = fabric.setup_module(forward)

    def mean(value: Tensor) -> Tensor:
        return cast(Tensor, fabric.all_reduce(value, reduce_op="mean"))

    method = schedules.build(
        settings, network, total_steps=total_steps, steps_per_epoch=task.steps_per_epoch, reduce=mean
    )
    optimizer = fabric.setup_optimizers(method.optimizer)
    about = before.about(settings, task, fabric.world_size)
    first = fabric.is_global_zero
    display = progress.build(total_steps, task) if first else Silent()
    described = {
        "autowu": versions()["autowu"],
        "config": asdict(settings),
        "schedule": method.settings,
        "samples": task.samples,
        "versions": versions(),
        "machine": machine(fabric.device) | {"processes": fabric.world_size},
    }
    log = RunLog(folder, writes=first)
    with ExitStack() as otherwise:  # the folder is not to stay locked where the run cannot begin
        otherwise.callback(log.close)
        if first:
            before.still_free(settings, resume=resume)
        manifest = before.last_checkpoint(folder, about, fabric) if resume else None
        log_length = manifest.log_length if manifest else 0
        log.begin(described, log_length)
        run = Run(
            settings=settings,
            fabric=fabric,
            task=task,
            network=network,
            model=model,
            method=method,
            optimizer=optimizer,
            planned=total_steps,
            eval_steps=evaluation_interval(settings, task, total_steps),
            events=Events(fabric.world_size),
            log=log,
            loggers=Loggers(settings.logger, folder, described, writes=first, resumes=log_length > 0),
            progress=display,
            stop=StopRequest(fabric.world_size),
            ending=Ending(settings, time.monotonic() if began is None else began),
            about=about,
            log_length=log_length,
        )
        display.start(settings, network, method, run.eval_steps)
        if manifest is not None:
            saving.restore(run, manifest.step)
            display.resumed(run.step)
        else:
            found = method.prepare(
                network, loop.one_by_one(run, 0), lambda out, target: loop.loss_of(run, out, target)
            )
            method.settings |= found
        otherwise.pop_all()
    return run


def load(settings: Settings, fabric: Fabric) -> Task:
    """The data; the first process of each machine goes first, so that only it downloads."""
    share = Share(fabric.global_rank, fabric.world_size)
    with fabric.rank_zero_first(local=True):
        return data.load(settings, share=share, device=fabric.device)


def updates(settings: Settings, task: Task) -> int | None:
    """Updates of the whole run: ``--steps``, ``--epochs``, or once through a text; None: until a plateau."""
    per_epoch = task.steps_per_epoch
    if settings.steps is not None or settings.until_plateau:
        return settings.steps
    if per_epoch is not None:
        return (settings.epochs or EPOCHS) * per_epoch
    return max(1, task.train_size // settings.batch_size)


def evaluation_interval(settings: Settings, task: Task, total_steps: int | None) -> int:
    """Updates from one evaluation to the next."""
    if task.steps_per_epoch is not None:
        return (settings.eval_every or 1) * task.steps_per_epoch
    return settings.eval_every or (UPDATES if total_steps is None else math.ceil(total_steps / EVALUATIONS))


def metrics_of(run: Run) -> dict[str, Any]:
    """What came out, for ``run.json``."""
    assert run.last is not None  # the last update is followed by an evaluation
    switch = run.method.schedule.switch
    return {
        "test_accuracy": run.last.test_accuracy,
        "test_loss": run.last.test_loss,
        "train_loss": run.last.train_loss,
        **outcome(switch),
        **({} if switch else {"peak_lr": run.method.settings.get("peak_lr")}),
        "seconds": run.seconds,
        "steps": run.step,
    }


def _to_channels_last(network: nn.Module) -> None:
    """Lay out the kernels of convolutions, (outputs, inputs, height, width), with inputs innermost."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
