"""Was the decision on a record right? Its task, trained live: fixed peak LRs, and AutoWU.

    python -m experiments.live_record digits-mlp-plain-adamw-short OUT.jsonl [--data-dir DIR --text FILE]

A record of a growing LR says where the loss of warm-up is least, which is not where a whole run ends best.
Fixed peaks have 5% of linear warm-up and a cosine; ten seeds; the final loss is of the whole training set.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path

import torch
from torch import nn

import autowu

sys.path.insert(0, str(Path(__file__).parents[1]))

from experiments import record_curves as curves

PEAKS = [10 ** (-3.5 + 0.25 * i) for i in range(15)]
SEEDS = 10
WARMUP = 0.05


def train(
    recipe: curves.Recipe, data: tuple[torch.Tensor, torch.Tensor], seed: int, peak: float | None
) -> dict:
    """One run; AutoWU where ``peak`` is None."""
    torch.manual_seed(seed)
    inputs, targets = data
    model = curves.build_model(recipe.model, inputs, int(targets.max()) + 1, recipe.width)
    optimizer = curves.build_optimizer(recipe.optimizer, model)
    total, warmup = recipe.total_steps, round(WARMUP * recipe.total_steps)
    scheduler = autowu.AutoWU(optimizer, total_steps=total, model=model) if peak is None else None
    source = curves.batches(inputs, targets, recipe.batch_size, seed)
    for step, (x, y) in zip(range(total), source, strict=False):
        if peak is not None:
            share = (1 + math.cos(math.pi * (step - warmup) / (total - warmup))) / 2
            for group in optimizer.param_groups:
                group["lr"] = peak * ((step + 1) / warmup if step < warmup else share)
        loss = nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if scheduler is not None:
            scheduler.step(loss)
    model.eval()
    with torch.no_grad():
        final = float(nn.functional.cross_entropy(model(inputs).flatten(0, -2), targets.flatten()))
    switch = scheduler.switch if scheduler is not None else None
    method, lr = ("fixed", peak) if switch is None else ("autowu", switch.peak_lr)
    return {"record": recipe.name, "method": method, "peak_lr": lr, "seed": seed, "loss": round(final, 5)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "record", choices=[recipe.name for recipe in curves.RECIPES + curves.DETECTION_RECIPES]
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--data-dir", type=Path, default=Path())
    parser.add_argument("--text", type=Path, default=Path("text.txt"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    recipes = {recipe.name: recipe for recipe in curves.RECIPES + curves.DETECTION_RECIPES}
    recipe = recipes[options.record]
    data = curves.load(recipe, options.data_dir, options.text)
    with options.out.open("a") as out:
        for peak in [None, *PEAKS]:
            for seed in range(SEEDS):
                out.write(json.dumps(train(recipe, data, seed, peak)) + "\n")


if __name__ == "__main__":
    main()
