"""On a GPU: no step waits for the device, a test for a minimum does once, and runs end where they should.

PyTorch's ``set_sync_debug_mode`` sees the waits: reads of values, copies from and to the host, and whatever
else it does not hand to the device and forget. Where there is no GPU these tests are skipped, and the same is
tested with spies on the CPU (``tests/integrations/torch/test_no_reads.py``).
"""

import contextlib
import warnings

import numpy as np
import pytest
import torch
from torch import nn

import autowu
from autowu.integrations import torchvision_shim
from autowu.train.run import engine, loop
from autowu.train.run.processes import fabric_for
from autowu.train.settings.options import Settings
from integrations.torch.training import v_curve

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU (CUDA)")


@contextlib.contextmanager
def waiting(mode):
    """Within, a wait for the device is allowed ('default'), counted ('warn') or an error ('error')."""
    before = torch.cuda.get_sync_debug_mode()
    found = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode(mode)
        try:
            yield found
        finally:
            torch.cuda.set_sync_debug_mode(before)
            found += [each for each in caught if "synchronizing CUDA operation" in str(each.message)]


def test_the_debug_mode_sees_waits():
    loss = torch.ones((), device="cuda")
    with waiting("warn") as found:
        loss.item()
        loss.cpu()
        torch.tensor([1.0], device="cuda")
        torch.ones(3).to("cuda", non_blocking=True)
    assert len(found) == 3
    with waiting("error"), pytest.raises(RuntimeError, match="synchronizing"):
        loss.item()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("settings", [{}, {"preset": "paper", "steps_per_epoch": 20}])
def test_the_scheduler_waits_at_tests_alone_and_there_for_one_transfer(dtype, settings):
    """A test at which the weights are copied for rewinding has a second one: whether they are finite."""
    steps = 2_000
    model = nn.Sequential(nn.Linear(8, 8), nn.BatchNorm1d(8)).cuda()
    optimizer = torch.optim.AdamW(model.parameters())
    made = autowu.AutoWU(optimizer, total_steps=steps, model=model, **settings)
    losses = torch.tensor(v_curve(steps), device="cuda", dtype=dtype).unbind()
    model(torch.ones(4, 8, device="cuda")).sum().backward()
    optimizer.step()
    reads = copies = 0
    for loss in losses:
        if made.last_epoch + 1 == made._session.due:
            with waiting("warn") as found:
                made.step(loss)
            state = made._session.state
            copied = state.switch is None and state.snapshot_step == state.step
            reads, copies = reads + 1, copies + copied
            assert len(found) == 1 + copied
        else:
            with waiting("error"):
                made.step(loss)
    assert made.switch is not None
    assert reads > 10
    assert (copies > 0) == ("preset" not in settings)


@pytest.fixture(scope="module")
def noise(tmp_path_factory):
    """A data set of random images, as a file."""
    path = tmp_path_factory.mktemp("data") / "noise.npz"
    random = np.random.default_rng(0)
    x, y = random.integers(0, 256, (700, 32, 32, 3), dtype=np.uint8), np.arange(700) % 10
    np.savez(path, x_train=x[:640], y_train=y[:640], x_test=x[640:], y_test=y[640:])
    return str(path)


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "words.txt"
    path.write_text(" ".join(np.random.default_rng(0).choice(["to", "be", "or", "not"], 5_000)))
    return str(path)


@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "adamw", "precision": "bf16-mixed", "channels_last": True},
        {"optimizer": "adamp", "augment": "cifar", "precision": "bf16-mixed"},
        {"optimizer": "sgd", "augment": "crop-flip", "micro_batch_size": 24, "clip_norm": 1.0},
        {"optimizer": "adamw", "data": "text", "context": 16},
    ],
    ids=["adamw", "adamp, AutoAugment", "sgd, micro-batches", "text"],
)
def test_the_trainer_s_loop_waits_at_tests_and_for_its_log_alone(settings, noise, text, tmp_path):
    data = text if settings.get("data") == "text" else noise
    chosen = {"batch_size": 64, "steps": 250, "eval_every": 100, "accelerator": "gpu", **settings}
    run = engine.set_up(
        s := Settings(**chosen | {"data": data, "out": str(tmp_path)}), fabric_for(s), resume=False
    )
    assert run.fabric.device.type == "cuda"
    decide, write, report, save = run.method.schedule._decide, run.write_events, loop.report, loop.saving.save
    at_tests, for_the_log = [], []

    def deciding():
        with waiting("warn") as found:
            outcome = decide()
        state = run.method.schedule._session.state
        at_tests.append((len(found), 1 + (state.switch is None and state.snapshot_step == state.step)))
        return outcome

    def writing():
        with waiting("warn") as found:
            write()
        for_the_log.append(len(found))

    def allowed(call):
        def calling(*arguments):
            with waiting("default"):
                call(*arguments)

        return calling

    run.method.schedule._decide, run.write_events = deciding, writing
    loop.report, loop.saving.save = allowed(report), allowed(save)
    try:
        with waiting("error"):
            loop.fit(run)
    finally:
        loop.report, loop.saving.save = report, save
        run.task.close()
        run.log.close()
    assert run.step == 250
    assert len(at_tests) > 5
    assert all(found == expected for found, expected in at_tests), at_tests
    assert max(for_the_log) == 1  # a write has one transfer, or none where nothing is new
    assert run.last is not None


def test_adamp_on_a_gpu_is_timm_s():
    torchvision_shim.install()
    from timm.optim.adamp import AdamP as Theirs

    from autowu.train.optimizers.adamp import AdamP

    torch.manual_seed(0)
    start = [torch.randn(16, 8, 3, 3), torch.randn(12, 20), torch.randn(12)]
    pair = []
    for kind in (AdamP, Theirs):
        parameters = [nn.Parameter(value.clone().cuda()) for value in start]
        pair.append((parameters, kind(parameters, lr=0.01, weight_decay=0.1)))
    for step in range(20):
        for index, value in enumerate(start):
            gradient = torch.randn_like(value)
            if step % 2:  # hardly turns the weights
                gradient -= value * (gradient * value).sum() / value.square().sum()
            for parameters, _ in pair:
                parameters[index].grad = gradient.cuda()
        for _, optimizer in pair:
            optimizer.step()
    for ours, theirs in zip(pair[0][0], pair[1][0], strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_on_a_gpu_learns_and_goes_on_bit_for_bit(tmp_path):
    """Digits by a CNN: stopped half-way and resumed, the same losses as in a single go."""
    torch.backends.cudnn.deterministic, before = True, torch.backends.cudnn.deterministic
    try:
        chosen = {"epochs": 12, "accelerator": "gpu", "optimizer": "adamw"}
        whole, again = (
            engine.train(Settings(**chosen, out=str(tmp_path / name)))[0] for name in ("whole", "again")
        )
        cut = Settings(**chosen, out=str(tmp_path / "cut"), checkpoint_every=60)
        run = engine.set_up(cut, fabric_for(cut), resume=False)
        received = run.stop.received
        run.stop.received = lambda: 15 if run.step == 60 else received()
        assert loop.fit(run) == 15
        run.log.close()
        resumed, _ = engine.train(cut, resume=True)
    finally:
        torch.backends.cudnn.deterministic = before
    assert whole["test_accuracy"] > 0.9
    if {**whole, "seconds": 0} != {**again, "seconds": 0}:
        pytest.skip("two runs in a single go differ here: some kernel adds up in no fixed order")
    assert {**whole, "seconds": 0} == {**resumed, "seconds": 0}
