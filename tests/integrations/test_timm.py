"""The class that docs/hosts/others.md gives for timm's train.py, in a loop of that script's calls."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

torch = pytest.importorskip("torch")

from autowu.integrations import torchvision_shim  # noqa: E402

torchvision_shim.install()
pytest.importorskip("timm")
from timm.models import resume_checkpoint  # noqa: E402
from timm.optim import create_optimizer_v2  # noqa: E402
from timm.utils import CheckpointSaver  # noqa: E402

EPOCHS, BATCHES = 8, 20
# Of so short a run AutoWU warns; that is not the subject here.
pytestmark = pytest.mark.filterwarnings("ignore:AutoWU. warm-up ended:UserWarning")


def documented():
    """The class, as it stands in the page."""
    page = (Path(__file__).parents[2] / "docs" / "hosts" / "others.md").read_text(encoding="utf-8")
    names = {}
    exec(re.search(r"runs this block -->\n```python\n(.*?)```", page, re.DOTALL)[1], names)
    return names["AutoWUScheduler"]


class KilledError(Exception):
    """What ends a script before its time."""


def script(folder, **flags):
    """timm's train.py; the LRs of all groups at each update that it makes."""
    args = SimpleNamespace(
        **{
            "resume": "",
            "start_epoch": None,
            "sched_on_updates": False,
            "accumulate": 1,
            "opt": "adamp",
            "recovery_interval": 0,
        }
        | flags
    )
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.ReLU(), torch.nn.Linear(16, 3))
    optimizer = create_optimizer_v2(model, opt=args.opt, lr=0.1, weight_decay=0.01)
    resume_epoch = resume_checkpoint(model, args.resume, optimizer, log_info=False) if args.resume else None
    saver = CheckpointSaver(model, optimizer, checkpoint_dir=folder, recovery_dir=folder, max_history=10)
    updates_per_epoch = (BATCHES + args.accumulate - 1) // args.accumulate
    scheduler = documented()(optimizer, EPOCHS, updates_per_epoch, model, args.resume)
    start_epoch = args.start_epoch if args.start_epoch is not None else resume_epoch or 0
    if start_epoch > 0:
        if args.sched_on_updates:
            scheduler.step_update(start_epoch * updates_per_epoch)
        else:
            scheduler.step(start_epoch)
    lrs = []
    for epoch in range(start_epoch, EPOCHS):
        losses = train_one_epoch(epoch, model, optimizer, args, scheduler, saver, lrs)
        saver.save_checkpoint(epoch, metric=(epoch % 3) / 10)  # the best is neither the first nor the last
        scheduler.step(epoch + 1, losses)
    return lrs


def train_one_epoch(epoch, model, optimizer, args, scheduler, saver, lrs):
    random = torch.Generator().manual_seed(epoch)
    accum_steps, left = args.accumulate, BATCHES % args.accumulate
    num_updates, total = epoch * ((BATCHES + accum_steps - 1) // accum_steps), 0.0
    for batch in range(BATCHES):
        need_update = batch == BATCHES - 1 or (batch + 1) % accum_steps == 0
        if batch >= BATCHES - left:
            accum_steps = left
        images = torch.randn(16, 8, generator=random)
        loss = torch.nn.functional.cross_entropy(model(images), images[:, :3].argmax(1)) / accum_steps
        loss.backward()
        if need_update:
            lrs.append([group["lr"] for group in optimizer.param_groups])
            optimizer.step()
        total += loss.item() * accum_steps
        scheduler.observe(loss * accum_steps)  # the second change
        if not need_update:
            continue
        num_updates += 1
        optimizer.zero_grad()
        if args.recovery_interval and num_updates % args.recovery_interval == 0:
            saver.save_recovery(epoch, batch_idx=batch)
            raise KilledError
        scheduler.step_update(num_updates=num_updates, metric=total / (batch + 1))
    return total / BATCHES


@pytest.mark.parametrize(
    "flags",
    [{}, {"sched_on_updates": True}, {"accumulate": 3, "opt": "lookahead_adamw"}, {"opt": "lamb"}],
    ids=str,
)
def test_any_checkpoint_goes_on_with_the_lrs_of_its_own_run(tmp_path, flags):
    whole = script(tmp_path, **flags)
    assert len(whole) % EPOCHS == 0
    files = {f"checkpoint-{epoch}": epoch + 1 for epoch in range(EPOCHS - 1)} | {"model_best": 3}
    before = {name: (tmp_path / f"{name}.pth.tar").read_bytes() for name in files}
    for name, epochs in files.items():
        again = tmp_path / name
        again.mkdir()
        (again / "from.pth.tar").write_bytes(before[name])
        lrs = script(again, resume=str(again / "from.pth.tar"), **flags)
        assert lrs == whole[epochs * len(whole) // EPOCHS :], name
        assert max(lr for group in lrs for lr in group) > 0


@pytest.mark.parametrize("sched_on_updates", [False, True])
@pytest.mark.parametrize("start_epoch", [0, 1, 5])
def test_another_epoch_than_the_checkpoints_is_refused(tmp_path, start_epoch, sched_on_updates):
    script(tmp_path)
    resume = str(tmp_path / "checkpoint-2.pth.tar")
    with pytest.raises(
        ValueError, match=f"AutoWU's state at {3 * BATCHES + (start_epoch == 0)}: resume from"
    ):
        script(tmp_path, resume=resume, start_epoch=start_epoch, sched_on_updates=sched_on_updates)


def test_a_recovery_file_is_refused_since_the_script_would_skip_the_rest_of_its_epoch(tmp_path):
    with pytest.raises(KilledError):
        script(tmp_path, recovery_interval=BATCHES + 3)
    (recovery,) = tmp_path.glob("recovery-*")
    with pytest.raises(
        ValueError, match=f"the script is at update {2 * BATCHES}, AutoWU's state at {BATCHES + 2}"
    ):
        script(tmp_path, resume=str(recovery))


def test_a_checkpoint_of_a_run_without_autowu_is_refused(tmp_path):
    script(tmp_path)
    saved = torch.load(tmp_path / "last.pth.tar", weights_only=True)
    del saved["optimizer"]["autowu"]
    torch.save(saved, tmp_path / "other.pth.tar")
    with pytest.raises(ValueError, match=r"other.pth.tar is of a run without AutoWU: give it as --initial"):
        script(tmp_path, resume=str(tmp_path / "other.pth.tar"))
