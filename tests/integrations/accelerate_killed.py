"""One of two processes that train with Accelerate and save as they go; what was killed is started again."""

from __future__ import annotations

import hashlib
import sys
import time
from pathlib import Path

import numpy as np
from accelerate import Accelerator

from integrations.accelerate import Loop
from integrations.contract.contract import v_curve
from integrations.contract.learner import everything

UPDATES, MICRO, EVERY = 120, 2, 5


def main(folder: Path) -> None:
    """Train to the end, from the newest checkpoint on; a line an update tells the LR and all weights."""
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=MICRO)
    rank = accelerator.process_index
    noise = np.random.default_rng(rank).standard_normal(UPDATES * MICRO)  # each rank has losses of its own
    loop = Loop(np.repeat(v_curve(UPDATES), MICRO) + 0.01 * noise, accelerator, UPDATES)
    if saved := sorted(folder.glob("at-*")):
        accelerator.load_state(str(saved[-1]))
    done = loop.scheduler.last_epoch
    with (folder / f"trace-{rank}").open("a") as trace:

        def after_update(updates: int) -> None:
            kept = hashlib.sha256()
            for value in everything(loop.model, loop.optimizer).values():
                kept.update(value.numpy().tobytes())
            print(updates, loop.scheduler.phase, loop.lrs[-1].hex(), kept.hexdigest(), file=trace, flush=True)
            if updates % EVERY == 0:
                accelerator.save_state(str(folder / "unfinished"))
                accelerator.wait_for_everyone()
                if accelerator.is_main_process:
                    (folder / "unfinished").rename(folder / f"at-{updates:03}")
                accelerator.wait_for_everyone()
            time.sleep(0.02)  # so that it is killed before its end

        loop.run(done * MICRO, after_update=after_update)
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
