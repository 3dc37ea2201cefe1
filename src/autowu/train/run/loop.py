"""The loop: updates, and now and then an evaluation and a checkpoint."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from typing import Final, cast

import torch
from torch import Tensor
from torch.nn import functional

from autowu.train.checkpoints import saving
from autowu.train.data.task import Batch, Share
from autowu.train.run.evaluation import Evaluation
from autowu.train.run.randomness import seed_for, seed_global
from autowu.train.run.run import Run
from autowu.train.schedules import Method

ENDLESS: Final = 2**31  # updates: more than anybody makes


def fit(run: Run, most: int = ENDLESS) -> int | None:
    """Train from where ``run`` stands to its end, or for ``most`` updates; the signal that stopped it."""
    schedule, events = run.method.schedule, run.events
    tests, switched, cuts = len(schedule.verdicts), schedule.switch is not None, len(schedule.cuts)
    ends = sum(end.step < run.step for end in schedule.ends)  # one of now is that of a resume
    run.model.train()
    run.method.train()
    if run.fabric.world_size > 2 and not run.sharded:
        settle_order(run)
    began, first = time.perf_counter(), run.step
    for batches in run.task.updates(run.step, _furthest(run, most)):
        lr, phase = float(schedule.get_last_lr()[0]), schedule.phase
        loss = update(run, batches)
        schedule.step(loss)

        run.step += 1
        events.step(run.step, run.epoch, loss, lr, phase)
        run.ending.look(run)
        for verdict in schedule.verdicts[tests:]:
            events.test(verdict)
            tests += 1
        if schedule.switch and not switched:
            events.switch(schedule.switch)
            run.progress.switch(schedule.switch, schedule.phase)
            switched = True
        for cut in schedule.cuts[cuts:]:
            cuts += 1
            events.cut(cut)
            run.progress.cut(schedule.cuts[:cuts])
        for end in schedule.ends[ends:]:
            ends += 1
            events.end(end)
        run.progress.step(run.step, lr, phase, schedule.verdicts)
        if events.full:
            run.write_events()

        stop = run.stop.received()
        evaluates = run.evaluates_at(run.step)
        if evaluates or stop or run.checkpoints_at(run.step):
            run.write_events()  # which waits for the device
            run.seconds += (seconds := time.perf_counter() - began)
            if evaluates:
                report(run, lr, phase, (run.step - first) / seconds)
            if stop or run.checkpoints_at(run.step) or saving.is_due(run):
                saving.save(run)
            if stop:
                return stop
            if run.step == run.total_steps:
                return None
            began, first = time.perf_counter(), run.step
    return None


def _furthest(run: Run, most: int) -> int:
    """Where ``most`` updates from now end, or the run: a deadline's end may become later again."""
    last, end = run.step + most, run.total_steps
    if end is None or run.planned is None:
        return last
    return min(last, end if run.step == end else max(end, run.planned))


def update(run: Run, batches: Iterable[Batch]) -> Tensor:
    """One update of the weights from this process's micro-batches; the mean loss of its samples, detached.

    Each micro-batch counts by its share of the update's samples, times the processes, over which gradients
    and losses are averaged: they are those of the undivided batch, even where a process has a sample more.
    """
    fabric, model, optimizer = run.fabric, run.model, run.optimizer
    seed = seed_for(run.settings.seed, "model", run.step, fabric.global_rank)
    seed_global(seed, fabric.device)  # for dropout
    size, processes = run.task.size(run.step), fabric.world_size
    samples = len(Share(fabric.global_rank, processes).of(size))
    looks_again = type(run.method).before_step is not Method.before_step
    kept: list[Batch] = []
    total: Tensor | None = None
    seen = 0
    for batch in batches:
        seen += len(batch.targets)
        with fabric.no_backward_sync(model, enabled=seen < samples):
            loss = loss_of(run, model(batch.inputs), batch.targets)
            if len(batch.targets) * processes != size:
                loss = loss * (len(batch.targets) * processes / size)
            fabric.backward(loss)
        total = loss.detach() if total is None else total + loss.detach()
        if looks_again:
            kept.append(batch)
    assert total is not None  # an update has samples
    if run.settings.clip_norm is not None:
        fabric.clip_gradients(model, optimizer, max_norm=run.settings.clip_norm, error_if_nonfinite=False)

    if looks_again:
        run.method.before_step(total, lambda: loss_at_current_weights(run, kept))
    optimizer.step()
    optimizer.zero_grad()
    return total


def settle_order(run: Run) -> None:
    """One backward pass for nothing: weights and buffers stay as they are, and each update is seeded anew.

    DDP puts the gradients into its buckets in the order in which its first backward pass finds them, and so
    has another order in the first update than in all others. That order decides how the gradients of three or
    more processes are added up; a resumed run, which has a first update of its own, would end with other bits
    than one that was never stopped. (Two numbers have but one sum.)
    """
    buffers = [(buffer, buffer.clone()) for buffer in run.model.buffers()]
    batch = next(one_by_one(run, run.step))
    run.fabric.backward(loss_of(run, run.model(batch.inputs), batch.targets))
    run.optimizer.zero_grad()
    with torch.no_grad():
        for buffer, before in buffers:
            buffer.copy_(before)


@torch.no_grad()
def loss_at_current_weights(run: Run, batches: list[Batch]) -> Tensor:
    """The loss of these micro-batches, weighted as in :func:`update`."""
    parts = [loss_of(run, run.model(batch.inputs), batch.targets) for batch in batches]
    samples = torch.tensor([float(len(batch.targets)) for batch in batches], device=run.fabric.device)
    return torch.stack(parts) @ (samples * (run.fabric.world_size / run.task.size(run.step)))


def loss_of(run: Run, outputs: Tensor, targets: Tensor) -> Tensor:
    """Mean cross-entropy: label-smoothed, unless the targets are probabilities already (mixup's)."""
    if targets.is_floating_point():
        return functional.cross_entropy(outputs, targets)
    return functional.cross_entropy(
        outputs.flatten(0, -2), targets.flatten(), label_smoothing=run.settings.label_smoothing
    )


def report(run: Run, lr: float, phase: str, updates_per_second: float) -> None:
    """Evaluate, log it and show it."""
    run.method.eval(one_by_one(run, run.step))
    test_loss, test_accuracy = evaluate(run)
    run.method.train()
    run.last = Evaluation(
        step=run.step,
        epoch=run.epoch,
        train_loss=run.events.mean_loss(),
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        lr=lr,
        phase=phase,
        samples_per_second=updates_per_second * run.task.per_update,
    )
    run.ending.evaluated(run, run.last.train_loss)
    run.events.evaluation(asdict(run.last))
    run.write_events()
    run.progress.evaluation(run.last, run.method.schedule.verdicts)


def one_by_one(run: Run, first: int) -> Iterator[Batch]:
    """This process's training batches from update ``first`` on, as many as one asks for."""
    for batches in run.task.updates(first, first + ENDLESS):
        yield from batches


@torch.no_grad()
def evaluate(run: Run) -> tuple[float, float]:
    """Mean cross-entropy over the test part, and the fraction of it that is predicted correctly."""
    run.model.eval()
    sums = torch.zeros(3, dtype=torch.float64, device=run.fabric.device)  # loss, correct, predictions
    for batch in run.task.evaluation():
        logits, targets = run.model(batch.inputs).flatten(0, -2).float(), batch.targets.flatten()
        sums[0] += functional.cross_entropy(logits, targets, reduction="sum")
        sums[1] += (logits.argmax(-1) == targets).sum()
        sums[2] += len(targets)
    if run.fabric.world_size > 1:
        torch.distributed.all_reduce(sums)
    run.model.train()
    loss, correct, count = cast("list[float]", sums.tolist())
    return loss / count, correct / count
