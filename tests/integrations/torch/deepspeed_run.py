"""A run under DeepSpeed's engine, as docs/pytorch.md has it. Arguments: stage, precision, folder."""

import sys
from typing import Any

import deepspeed
import torch
from torch import Tensor, nn

import autowu

STEPS, ACCUMULATION, SAVED = 240, 2, (20, 200)
TARGET = torch.randn(8, 1, generator=torch.Generator().manual_seed(0))


def start(stage: int, precision: str) -> tuple[Any, nn.Module, autowu.AutoWU]:
    """The engine, its model, and the scheduler that it steps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 16,
        "gradient_accumulation_steps": ACCUMULATION,
        "zero_optimization": {"stage": stage},
        "zero_allow_untested_optimizer": True,
        "bf16": {"enabled": "bf16" in precision},
    }
    if "in fp32" in precision:
        config["data_types"] = {"grad_accum_dtype": "fp32"}
    scheduler = autowu.AutoWU(optimizer, STEPS, model=model)
    engine, *_ = deepspeed.initialize(model=model, optimizer=optimizer, config=config, lr_scheduler=scheduler)
    return engine, model, scheduler


def update(engine: Any, scheduler: autowu.AutoWU, step: int) -> float:
    """Train on the batches of ``step``; the last one's loss."""
    batches = torch.Generator().manual_seed(step)
    for _ in range(ACCUMULATION):
        inputs = torch.randn(16, 8, generator=batches)
        targets = torch.tanh(inputs @ TARGET) + 0.1 * torch.randn(16, 1, generator=batches)
        outputs = engine(inputs.to(next(engine.module.parameters()).dtype))
        loss = (outputs.float() - targets).square().mean()
        engine.backward(loss)
        scheduler.observe(loss)
        engine.step()
    return loss.item()


def main(stage: int, precision: str, folder: str) -> None:
    """Assert that all is as it should be."""
    deepspeed.init_distributed(dist_backend="gloo")
    engine, model, scheduler = start(stage, precision)
    copies, trace = dict[int, list[Tensor]](), []
    for step in range(STEPS):
        copies[step] = [parameter.detach().clone() for parameter in model.parameters()]
        warming_up = scheduler.phase == "warmup"
        loss = update(engine, scheduler, step)
        if warming_up and scheduler.phase == "decay":
            then = copies[scheduler.switch.rewound_to]
            assert all(map(torch.equal, model.parameters(), then)), "the model has not gone back"
        trace.append((loss, engine.get_lr()[0]))
        if step in SAVED:
            engine.save_checkpoint(folder, tag=str(step))
    assert scheduler.phase == "decay"
    assert scheduler.last_epoch == engine.global_steps == STEPS
    lrs = [lr for _, lr in trace]
    assert max(lrs) > 100 * lrs[0], "the LR has not grown"
    assert lrs[-1] == 0, "the LR has not fallen"
    assert trace[-1][0] < trace[0][0] / 4, "nothing has been learnt"
    for saved in SAVED:
        engine, model, scheduler = start(stage, precision)
        engine.load_checkpoint(folder, tag=str(saved))
        again = [(update(engine, scheduler, step), engine.get_lr()[0]) for step in range(saved + 1, STEPS)]
        assert again == trace[saved + 1 :], f"resumed after {saved}, the run is another"
    print("all as it should be")


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
