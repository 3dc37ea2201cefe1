"""Between two tests the losses stay on their device: nothing waits for it, and nothing piles up."""

import gc
import tracemalloc

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from integrations.torch.training import STEPS, Training, drive, scheduler, v_curve

LONG = {"total_steps": 40_000, "growth": "exponential", "decay": "plateau"}  # tests are 160 steps apart


class Traffic(TorchDispatchMode):
    """Counts what would make the host wait for the device, and new storage; CPU stands for the device."""

    READS = ("aten::_local_scalar_dense", "aten::item", "aten::equal", "aten::is_nonzero", "aten::nonzero",
             "aten::_to_copy", "aten::allclose", "aten::lift_fresh_copy")  # fmt: skip
    MAKES = (
        "aten::zeros",
        "aten::empty.memory_format",
        "aten::clone",
        "aten::new_zeros",
        "aten::stack",
        "aten::cat",
    )

    def __init__(self):
        super().__init__()
        self.reads: list[str] = []
        self.made = 0

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        name = function._schema.name
        if name in self.READS:
            self.reads.append(name)
        self.made += name in self.MAKES
        return function(*arguments, **(keywords or {}))


@pytest.fixture
def host_copies(monkeypatch):
    """Counts the calls by which a tensor's numbers come to the host without a dispatch."""
    calls = []
    for name in ("numpy", "tolist", "cpu", "item", "__float__", "__array__", "__bool__"):
        original = getattr(torch.Tensor, name)

        def spied(self, *arguments, _name=name, _original=original, **keywords):
            calls.append(_name)
            return _original(self, *arguments, **keywords)

        monkeypatch.setattr(torch.Tensor, name, spied)
    return calls


def curve(made):
    """Losses whose minimum comes in warm-up, however short a part of the run that is; then the same again."""
    return np.resize(v_curve(min(made.total_steps, 2 * made.config.growth_steps)), made.total_steps)


@pytest.mark.parametrize(
    ("total_steps", "settings", "dtype", "micro"),
    [
        (25_000, {}, torch.float32, 1),  # waits of some 9 steps in warm-up, of 500 in the decay
        (8_000, {}, torch.float64, 3),
        (8_000, {"preset": "paper", "steps_per_epoch": 150}, torch.bfloat16, 2),
    ],
)
def test_losses_are_read_at_tests_alone(total_steps, settings, dtype, micro, host_copies):
    made = scheduler(total_steps, **settings)
    reads, quiet = 0, 0
    for value in curve(made)[: 2 * total_steps // 5]:
        loss = torch.tensor(value, dtype=dtype)
        due = made.last_epoch + 1 == made._session.due
        with Traffic() as traffic:
            for _ in range(micro - 1):
                made.observe(loss)
            made.step(loss)
        if due:
            reads += len(traffic.reads) > 0 or len(host_copies) > 0
        else:
            quiet += 1
            assert traffic.reads == []
            assert host_copies == []
        host_copies.clear()
    assert made.switch is not None
    assert reads > 10  # or else the spies see nothing
    assert quiet > 10 * reads


def test_the_spies_see_a_read(host_copies):
    loss = torch.tensor(1.0)
    with Traffic() as traffic:
        float(loss)
        loss.to(torch.float64)
        loss.to("cpu", copy=True)
        torch.equal(loss, loss)
        loss.clone()
    assert traffic.reads
    assert traffic.made == 1
    assert host_copies == ["__float__"]


@pytest.mark.parametrize(
    "settings", [LONG, {"total_steps": 40_000, "preset": "paper", "steps_per_epoch": 900}]
)
def test_losses_without_data_pass_until_the_next_test(settings):
    """Meta tensors have no numbers: to read one is an error."""
    made = scheduler(**settings)
    losses = map(torch.tensor, curve(made))
    stretches = []
    while made.last_epoch < 6000:
        length = made._session.due - made.last_epoch
        before = made.state_dict()
        for _ in range(length - 1):
            made.observe(torch.tensor(1.0, device="meta"))
            made.step(torch.tensor(2.0, device="meta"))
        with pytest.raises((RuntimeError, NotImplementedError), match="meta"):
            made.step(torch.tensor(1.0, device="meta"))
        stretches.append(length)
        made = scheduler(**settings)
        made.load_state_dict(before)
        drive(made, [next(losses) for _ in range(length)])
    assert len(stretches) > 5
    assert max(stretches) > 100


def test_nothing_is_allocated_between_tests():
    made = scheduler(300_000)
    losses = [torch.tensor(loss) for loss in curve(made)[:40_000]]
    made_by_stretch: dict[int, int] = {}
    for loss in losses:
        due = made.last_epoch + 1 == made._session.due
        stretch = made._session.state.read
        with Traffic() as traffic:
            made.step(loss)
        if not due:
            made_by_stretch[stretch] = made_by_stretch.get(stretch, 0) + traffic.made
    assert max(made_by_stretch.values()) <= 1  # the buffer
    assert sum(made_by_stretch.values()) <= 10  # and it serves again


def test_one_buffer_serves_all_epochs():
    made = scheduler(preset="paper", steps_per_epoch=20)
    places = set()
    for loss in v_curve()[:80]:
        made.step(torch.tensor(loss))
        places.add(made._pending._buffer.data_ptr())
    assert len(places) == 1


@pytest.mark.parametrize("kind", [float, torch.tensor])
def test_memory_of_the_host_does_not_grow_with_the_steps(kind):
    made = scheduler(200_000, preset="paper", steps_per_epoch=60_000)
    losses = [kind(1.0), kind(2.0)]
    drive_on(made, losses, 5_000)
    gc.collect()
    tracemalloc.start()
    try:
        drive_on(made, losses, 20_000)
        gc.collect()
        grown, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert made.last_epoch == 25_000
    assert grown < 20_000  # not a byte a step


def drive_on(made, losses, steps):
    for step in range(steps):
        made.step(losses[step % 2])


@pytest.mark.filterwarnings("ignore:AutoWU. step.loss. has been called")  # there are no updates to them
def test_in_the_decay_phase_losses_are_kept_for_a_stretch_alone():
    training = Training()
    training.run(STEPS // 2)
    reads = []
    for loss in np.linspace(1, 0.5, STEPS // 2):
        training.scheduler.step(torch.tensor(loss))
        assert len(training.scheduler._pending) + len(training.scheduler._session.state.losses) < 20
        reads.append(training.scheduler._session.state.read)
    assert set(np.diff(np.unique(reads))[:-1]) == {10}  # the last one ends with the run, and is longer


def test_without_the_watch_losses_of_the_decay_are_not_kept():
    training = Training(watch=None)
    training.run(STEPS // 2)
    assert training.scheduler.phase == "decay"
    with Traffic() as traffic:
        for loss in np.linspace(1, 0.5, 100):
            training.scheduler.step(torch.tensor(loss))
    assert len(training.scheduler._pending) == 0
    assert len(training.scheduler._session.state.losses) == 0
    assert traffic.reads.count("aten::_local_scalar_dense") == 0
