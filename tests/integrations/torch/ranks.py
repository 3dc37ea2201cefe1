"""What each process does in the tests with several."""

import copy
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn
from torch.distributed.algorithms.join import Join
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.nn.parallel import DistributedDataParallel
from torch.optim import SGD, AdamW, Optimizer

import autowu

try:  # all public since torch 2.6
    from torch.distributed.fsdp import fully_shard
    from torch.distributed.tensor import DTensor, Replicate, Shard, distribute_tensor
except ImportError:
    SHARDING = False
else:
    SHARDING = True
from integrations.contract.contract import Ends
from integrations.torch.training import STEPS, Training, drive, parameters, scheduler, v_curve

COLLECTIVES = [
    name for name in dir(dist) if name.startswith(("all_", "broadcast", "gather", "scatter", "reduce"))
]
COLLECTIVES += ["barrier", "send", "recv", "isend", "irecv"]


class Trace(NamedTuple):
    """What one rank did."""

    lrs: list[float]
    tests: list[int]
    """Steps of the decisions."""
    collectives: list[int]
    """Steps of the calls of torch.distributed."""
    switch: autowu.Switch | None
    cuts: tuple[autowu.Cut, ...]
    restored: list[int]
    """Steps at which the first weight was again what it had been at the copy."""


@contextmanager
def counted(calls: list[str]) -> Iterator[None]:
    """Notes each call of a collective."""
    originals = {name: getattr(dist, name) for name in COLLECTIVES if callable(getattr(dist, name))}
    for name, original in originals.items():

        def spied(*arguments: Any, _name: str = name, _original: Any = original, **keywords: Any) -> Any:
            calls.append(_name)
            return _original(*arguments, **keywords)

        setattr(dist, name, spied)
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(dist, name, original)


def trace(rank: int, losses: list[list[float]], settings: dict[str, Any], members: list[list[int]]) -> Trace:
    """Drive a scheduler by this rank's losses, in its one of the groups ``members``, if there are any."""
    group = None
    for ranks in members:
        made_group = dist.new_group(ranks)
        group = made_group if rank in ranks else group
    made = scheduler(process_group=group, **settings)
    lrs, tests, steps, restored = made.get_last_lr(), [], [], list[int]()
    (weights,) = made.optimizer.param_groups[0]["params"]
    calls: list[str] = []
    with counted(calls):
        for step, loss in enumerate(losses[rank], 1):
            if step == made._session.due:
                tests.append(step)
            with torch.no_grad():
                weights.fill_(step)
            # Ranks need not agree on the type either.
            made.step(loss if rank == 1 else torch.tensor(loss, dtype=torch.float64))
            steps += [step] * len(calls)
            calls.clear()
            lrs += made.get_last_lr()
            restored += [step] if float(weights[0]) != step else []
    return Trace(lrs, tests, steps, made.switch, made.cuts, restored)


def ask(made: autowu.AutoWU, ends: Ends) -> None:
    """Call what ``ends`` has after the updates done, if anything."""
    if made.last_epoch in ends:
        name, number = ends[made.last_epoch]
        getattr(made, name)(number)


def ended(
    rank: int, losses: list[list[float]], ends: list[Ends], settings: dict[str, Any]
) -> tuple[list[float], autowu.Switch | None, list[float], list[str]]:
    """The LRs, the switch, a weight at the end and the errors of a run whose end is moved on the way."""
    made = scheduler(**settings)
    (weights,) = made.optimizer.param_groups[0]["params"]
    lrs, errors = made.get_last_lr(), list[str]()
    for step, loss in enumerate(losses[rank], 1):
        with torch.no_grad():
            weights.add_(step)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "AutoWU")  # of weights that nobody trains
            made.step(loss)
        try:
            ask(made, ends[rank])
        except ValueError as error:
            errors.append(str(error))
        lrs.append(made.get_last_lr()[0])
    return lrs, made.switch, weights.tolist(), errors


def apart(
    rank: int, at: list[int], lengths: list[int | None], settings: dict[str, Any]
) -> tuple[str | None, bool]:
    """The error at the first update of a run that each rank loads for itself, and whether it changed nothing.

    ``at`` has the updates that were done by the run that each rank loads; 0: it loads none.
    """
    first = scheduler(distributed=False, **settings)
    drive(first, v_curve()[: at[rank]])
    made = scheduler(lengths[rank], **settings)
    if at[rank]:
        made.load_state_dict(copy.deepcopy(first.state_dict()))
    before, error = copy.deepcopy(made.state_dict()), None
    for _ in range(2):  # what is wrong does not pass
        try:
            made.step(0.5)
        except ValueError as raised:
            error = str(raised)
    after = made.state_dict()
    return error, repr(after) == repr(before)


def resumed(rank: int, losses: list[list[float]], breaks: list[int]) -> tuple[list[float], list[float]]:
    """The last LRs of a run without and with breaks, where each rank saves and loads its own state."""
    whole, broken = scheduler(), scheduler()
    for step, loss in enumerate(losses[rank]):
        if step in breaks:
            state, broken = copy.deepcopy(broken.state_dict()), scheduler()
            broken.load_state_dict(state)
        whole.step(loss)
        broken.step(loss)
    return drive(whole, []), drive(broken, [])


def broken_weights(rank: int) -> list[int | None]:
    """The step of the copy at each step, where the last rank's weights are not finite at some tests."""
    weights = parameters(3)
    made = autowu.AutoWU(SGD(weights, lr=0.1), STEPS)
    copied = []
    for step, loss in enumerate(v_curve()[:60], 1):
        with torch.no_grad():
            weights[0][0] = math.inf if rank == dist.get_world_size() - 1 and 40 <= step < 50 else 1.0
        made.step(loss)
        copied.append(made._session.state.snapshot_step)
    return copied


class Sharded(nn.Module):
    """A classifier whose sizes do not divide by two."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 25), nn.ReLU(), nn.Linear(25, 10))

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images)


def local(tensor: Any) -> Tensor:
    """This rank's part, copied."""
    plain = tensor.detach()
    return (plain.to_local() if hasattr(plain, "to_local") else plain).clone()


def seen(optimizer: Optimizer) -> list[Tensor]:
    """All that this rank holds of the weights and the optimizer's state."""
    weights = [p for group in optimizer.param_groups for p in group["params"]]
    return [local(p) for p in weights] + [
        local(value) for p in weights for _, value in sorted(optimizer.state[p].items())
    ]


def by_fsdp2(name: str) -> Training:
    """A run whose parameters FSDP2 has sharded."""
    torch.manual_seed(0)
    model = Sharded()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for layer in model.layers:
        if isinstance(layer, nn.Linear):
            fully_shard(layer, mesh=mesh)
    fully_shard(model, mesh=mesh)
    made_of = {"AdamW": AdamW, "SGD": lambda params: SGD(params, lr=0.1, momentum=0.9)}
    training = Training(made_of[name], model=model)
    assert all(isinstance(p, DTensor) for p in model.parameters())
    return training


def fully_sharded(rank: int, name: str) -> tuple[list[Tensor], list[Tensor], list[Tensor], Any]:
    """Train with FSDP2: what was there at the step of the copy, right after the switch, and before it."""
    return until_the_switch(by_fsdp2(name), rank)


def in_one_checkpoint(rank: int, folder: str) -> tuple[list[Tensor], list[Tensor]]:
    """What is there after the switch, and what is in a run that loads the scheduler just before it."""
    whole, again = by_fsdp2("AdamW"), by_fsdp2("AdamW")
    for loss in v_curve()[:66]:
        whole.update()
        whole.scheduler.step(loss)
    dcp.save({"scheduler": whole.scheduler}, checkpoint_id=folder)
    dcp.load({"scheduler": again.scheduler}, checkpoint_id=folder)
    for run in (whole, again):
        for loss in v_curve()[66:]:
            if run.scheduler.switch is None:
                run.update()
                run.scheduler.step(loss)
    return seen(whole.optimizer), seen(again.optimizer)


def with_the_first_ranks_state(rank: int, by: str) -> str | None:
    """The error, where a run of which each rank has a part loads what the first rank has saved."""
    from torch.distributed.optim import ZeroRedundancyOptimizer  # which warns where it is imported

    runs = list[autowu.AutoWU]()
    for _ in range(2):
        model: nn.Module = nn.Linear(4, 4)
        if by == "FSDP1":
            model = FullyShardedDataParallel(model, device_id=torch.device("cpu"))
        parameters = model.parameters()
        optimizer = AdamW(parameters) if by == "FSDP1" else ZeroRedundancyOptimizer(parameters, AdamW)
        runs.append(autowu.AutoWU(optimizer, STEPS, model=model))
        model(torch.ones(1, 4)).sum().backward()
        for loss in v_curve()[: 66 * (len(runs) == 1)]:
            optimizer.step()
            runs[0].step(loss)
    state = [runs[0].state_dict()]
    dist.broadcast_object_list(state, src=0)
    try:
        runs[1].load_state_dict(state[0])
    except ValueError as error:
        return str(error)
    return None


def until_the_switch(training: Training, rank: int) -> tuple[list[Tensor], list[Tensor], list[Tensor], Any]:
    """See :func:`fully_sharded`."""
    record = {}
    for loss in v_curve():
        training.update()
        step = training.scheduler.last_epoch + 1
        record[step] = seen(training.optimizer)
        training.scheduler.step(loss + rank / 64)
        switch = training.scheduler.switch
        if switch is not None:
            after = seen(training.optimizer)
            training.run(step + 5)
            return record[switch.rewound_to], after, record[step], switch
    raise AssertionError("no switch")


def sharded_by_hand(rank: int) -> tuple[list[Tensor], list[Tensor], list[Tensor], Any]:
    """Parameters that are DTensors, one sharded and one replicated, and losses that are DTensors."""
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    torch.manual_seed(0)
    weight = nn.Parameter(distribute_tensor(torch.randn(7, 3), mesh, [Shard(0)]))
    bias = nn.Parameter(distribute_tensor(torch.randn(3), mesh, [Replicate()]))
    optimizer = AdamW([weight, bias])
    made = autowu.AutoWU(optimizer, STEPS)
    record = {}
    for step, loss in enumerate(v_curve(), 1):
        for p in (weight, bias):
            p.grad = torch.ones_like(p)
        optimizer.step()
        record[step] = seen(optimizer)
        made.step(distribute_tensor(torch.tensor(loss), mesh, [Replicate()]))
        if made.switch is not None:
            return record[made.switch.rewound_to], seen(optimizer), record[step], made.switch
    raise AssertionError("no switch")


def uneven(rank: int, way: str, losses: list[float], batches: list[int]) -> tuple[Any, ...]:
    """Ranks with so many batches each, as DDP and Accelerate join them; what there is at the end."""
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Linear(4, 1))
    optimizer = SGD(model.parameters(), lr=0.1)
    made = autowu.AutoWU(optimizer, STEPS, watch=None)
    with model.join() if way == "ddp.join()" else Join([model]):
        for loss in losses[: batches[rank]]:
            model(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()
            optimizer.zero_grad()
            made.step(loss)
    return made.last_epoch, made.get_last_lr(), model.module.weight.sum().item(), made.switch
