"""One run on several real processes: the same learning rates, and nobody waits for the dead."""

import os
import re
import signal
import sys

import numpy as np
import pytest
import torch.distributed.fsdp

from autowu.errors import UserError
from autowu.train.checkpoints import checkpoint
from autowu.train.run import processes
from autowu.train.settings.options import Settings
from train import commands

# LayerNorm: the statistics of BatchNorm are each process's own, so that it learns something else.
FLAGS = ("--epochs", 6, "--norm", "layer", "--batch-size", 64, "--model", "mlp", "--optimizer", "adamw")
fully_shards = pytest.mark.skipif(
    not hasattr(torch.distributed.fsdp, "fully_shard"), reason="PyTorch 2.6 or newer has it"
)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process."""
    out = tmp_path_factory.mktemp("alone") / "run"
    commands.train(*FLAGS, "--out", out)
    return out


def assert_same_lrs(one, other):
    assert commands.steps(one, "step") == commands.steps(other, "step")
    assert commands.steps(one, "lr") == commands.steps(other, "lr")
    assert commands.steps(one, "phase") == commands.steps(other, "phase")
    # The mean over processes rounds otherwise than the mean over the batch, and training makes more of that.
    losses, others = (np.array(commands.steps(run, "loss")) for run in (one, other))
    half = len(losses) // 2
    np.testing.assert_allclose(losses[:half], others[:half], rtol=1e-4)
    np.testing.assert_allclose(losses[half:], others[half:], rtol=1e-2)


@pytest.mark.full
@pytest.mark.parametrize("processes", [2, 4])
def test_processes_give_the_learning_rates_of_one(alone, tmp_path, processes):
    told = commands.train(*FLAGS, "--out", tmp_path / "run", "--devices", processes)
    assert_same_lrs(tmp_path / "run", alone)
    assert told.count("\naccuracy ") == 1  # one process speaks
    assert "Initializing" not in told


@fully_shards
def test_a_sharded_model_gives_them_too_and_rewinds(alone, tmp_path):
    out = tmp_path / "run"
    commands.train(*FLAGS, "--out", out, "--devices", 2, "--strategy", "fsdp")
    assert_same_lrs(out, alone)
    (switch,) = [event for event in commands.events(out) if event["event"] == "switch"]
    assert switch["rewound_to"] is not None
    newest = sorted(out.glob("checkpoints/[0-9]*"))[-1]
    assert sorted(path.name for path in newest.iterdir()) == ["manifest.json", "rank-0.pt", "rank-1.pt"]


@fully_shards
@pytest.mark.full
def test_a_sharded_model_learns_with_adamp(tmp_path):
    flags = (*FLAGS[:-1], "adamp")
    commands.train(*flags, "--out", tmp_path / "alone")
    commands.train(*flags, "--out", tmp_path / "shards", "--devices", 2, "--strategy", "fsdp")
    assert_same_lrs(tmp_path / "shards", tmp_path / "alone")


def test_an_old_pytorch_shards_nothing(monkeypatch):
    monkeypatch.setattr(processes, "_has_fully_shard", lambda: False)
    with pytest.raises(UserError, match=r"--strategy fsdp needs PyTorch 2\.6 or newer, not 2\."):
        processes.fabric_for(Settings(strategy="fsdp", devices=2))


@pytest.mark.full
def test_micro_batches_on_two_processes(alone, tmp_path):
    commands.train(*FLAGS, "--out", tmp_path / "run", "--devices", 2, "--micro-batch-size", 12)
    assert_same_lrs(tmp_path / "run", alone)


@pytest.mark.full
def test_a_last_batch_of_which_one_process_has_more_than_another(tmp_path):
    """56 of 1,442 digits: 18, 19 and 19, in three micro-batches each."""
    flags = (*FLAGS, "--epochs", 3, "--batch-size", 63, "--keep-last-batch")
    commands.train(*flags, "--out", tmp_path / "alone")
    commands.train(*flags, "--out", tmp_path / "run", "--devices", 3, "--micro-batch-size", 7)
    assert_same_lrs(tmp_path / "run", tmp_path / "alone")
    assert len(commands.steps(tmp_path / "run", "step")) == 3 * 23


# Two processes' gradients have one sum; of four the order in which they are added up must be the same again.
@pytest.mark.full
@pytest.mark.parametrize(("strategy", "processes"), [("ddp", 4), pytest.param("fsdp", 2, marks=fully_shards)])
def test_kill_and_resume(tmp_path, strategy, processes):
    flags = (*FLAGS, "--devices", processes, "--strategy", strategy, "--checkpoint-every", 10)
    commands.train(*flags, "--out", tmp_path / "whole")
    out = tmp_path / "run"
    process = commands.start(*flags, "--out", out)
    commands.wait_for_checkpoint(out, process, 30)
    commands.kill(process)
    assert checkpoint.newest(out)[0].step < 132
    commands.train("--out", out, "--resume")
    commands.assert_same(out, tmp_path / "whole")


def test_a_signal_to_one_process_stops_all_at_the_same_update(tmp_path):
    out = tmp_path / "run"
    process = commands.start(*FLAGS, "--devices", 2, "--out", out, "--checkpoint-every", 10)
    commands.wait_for_checkpoint(out, process)
    os.kill(process.pid, signal.SIGTERM)
    told = commands.finish(process, 143)
    step = int(re.search(r"stopped after update (\d+)", told)[1])
    assert checkpoint.newest(out)[0].step == step == commands.steps(out, "step")[-1]


@pytest.mark.full
def test_torchrun(alone, tmp_path):
    launcher = (*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "autowu")
    commands.train(*FLAGS, "--out", tmp_path / "run", launcher=launcher)
    assert_same_lrs(tmp_path / "run", alone)


@pytest.mark.full
def test_fabric_run(alone, tmp_path):
    script = tmp_path / "train.py"
    script.write_text("import sys\nfrom autowu.cli import main\nsys.exit(main())\n")
    # What the script `fabric` does; where Lightning is installed too, that name may be Lightning's.
    fabric = (sys.executable, "-c", "from lightning_fabric.cli import _main; _main()", "run")
    launcher = (*fabric, "--accelerator", "cpu", "--devices", "2", "--strategy", "ddp", str(script))
    commands.train(*FLAGS, "--out", tmp_path / "run", launcher=launcher)
    assert_same_lrs(tmp_path / "run", alone)


@pytest.mark.full
@pytest.mark.parametrize("processes", [1, 2])
def test_two_nodes(alone, tmp_path, processes):
    def node(rank):
        where = ("--nnodes", "2", "--node-rank", str(rank), "--nproc-per-node", str(processes))
        meet = ("--master-addr", "127.0.0.1", "--master-port", str(port))
        return (*TORCHRUN, *where, *meet, "-m", "autowu")

    port = commands.free_port()
    flags = (*FLAGS, "--out", tmp_path / "run", "--nodes", 2, "--devices", processes)
    nodes = [commands.start(*flags, launcher=node(rank)) for rank in (0, 1)]
    for process in nodes:
        commands.finish(process)
    assert_same_lrs(tmp_path / "run", alone)


@pytest.mark.full
def test_a_killed_process_is_restarted_with_all_and_goes_on(tmp_path):
    flags = (*FLAGS, "--checkpoint-every", 10)
    commands.train(*flags, "--out", tmp_path / "whole", "--devices", 2)
    out = tmp_path / "run"
    launcher = (*TORCHRUN, "--standalone", "--nproc-per-node", "2", "--max-restarts", "1", "-m", "autowu")
    process = commands.start(*flags, "--out", out, "--resume", launcher=launcher)
    commands.wait_for_checkpoint(out, process, 30)
    workers = commands.children(process)
    assert len(workers) == 2
    os.kill(workers[1], signal.SIGKILL)
    told = commands.finish(process)
    assert "going on after update" in told
    commands.assert_same(out, tmp_path / "whole")


@pytest.mark.full
def test_the_launcher_and_the_flags_must_agree(tmp_path):
    launcher = (*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "autowu")
    told = commands.train(*FLAGS, "--out", tmp_path / "run", "--devices", 4, launcher=launcher, status=1)
    assert "--devices 4, but the launcher has started 2" in told
    assert not (tmp_path / "run").exists()
