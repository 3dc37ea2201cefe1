"""The range test before training: it leaves the weights alone, and suggests what its package suggests."""

import itertools
from importlib import import_module

import pytest
import torch
from torch.nn import functional

from autowu.errors import UserError
from train.learning import batches
from train.peers import peer


@pytest.mark.parametrize("model", ["mlp", "cnn"])
def test_the_range_test_leaves_the_weights_alone_and_its_suggestion_is_the_peak(model):
    run = peer("lr-finder", model=model)
    before = {name: value.clone() for name, value in run.model.state_dict().items()}
    found = run.prepare()
    assert all(torch.equal(value, before[name]) for name, value in run.model.state_dict().items())
    assert all(parameter.grad is None for parameter in run.model.parameters())
    assert not run.method.optimizer.state
    assert 1e-4 < found["peak_lr"] < 1
    assert found["range_test_updates"] <= 100
    assert run.method.schedule.peak_lr == found["peak_lr"]
    lrs = [group["lr"] for group in run.method.optimizer.param_groups]
    assert lrs == pytest.approx([found["peak_lr"] / 25] * 2)
    assert run.prepare() == found  # the same data, the same suggestion

    package = import_module("torch_lr_finder")
    plain = peer("lr-finder", model=model)
    optimizer = torch.optim.AdamW(plain.model.parameters(), lr=1e-7, weight_decay=0.1)
    finder = package.LRFinder(plain.model, optimizer, torch.nn.CrossEntropyLoss())
    data = list(itertools.islice(batches(0), 100))
    loader = torch.utils.data.DataLoader(data, batch_size=None, collate_fn=tuple)
    finder.range_test(loader, end_lr=10, num_iter=100)
    _, suggestion = finder.plot(ax=import_module("matplotlib.figure").Figure().subplots())
    chosen = peer("lr-finder", model=model, weight_decay_on="all")
    assert chosen.prepare()["peak_lr"] == pytest.approx(suggestion)


def test_a_loss_that_explodes_at_once_gives_no_suggestion():
    run = peer("lr-finder")
    calls = []

    def explodes(outputs, targets):
        calls.append(1)
        return functional.cross_entropy(outputs, targets) * 10.0 ** len(calls)

    with pytest.raises(UserError, match="--schedule lr-finder: Need at least 17 iterations"):
        run.method.prepare(run.model, batches(0), explodes)


def test_the_range_test_follows_the_mean_loss_and_the_mean_gradients():
    still = peer("lr-finder", reduce=lambda value: value if value.ndim == 0 else 0 * value, weight_decay=0.0)
    assert still.prepare()["range_test_best_loss"] > 2

    run = peer("lr-finder", reduce=lambda value: value + 1 if value.ndim == 0 else value)
    alone = peer("lr-finder")
    assert run.prepare()["range_test_best_loss"] == pytest.approx(alone.prepare()["range_test_best_loss"] + 1)
