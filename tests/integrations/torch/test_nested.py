"""Optimizers within optimizers: what really steps is driven, and all that they hold goes back."""

import copy
from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

import autowu
from integrations.torch.training import STEPS, core_lrs, v_curve


class Lookahead(Optimizer):
    """As timm's: it shares the groups of the one that it holds, and keeps slow weights in its state."""

    def __init__(self, inner):
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
        self._base_optimizer = inner
        self.param_groups, self.defaults, self.state = inner.param_groups, inner.defaults, {}

    def step(self, closure=None):
        self._base_optimizer.step()
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self._base_optimizer.state[parameter]
                slow = state.setdefault("slow", parameter.detach().clone())
                slow.lerp_(parameter.detach(), 0.5)


class Sharpness(Optimizer):
    """As sharpness-aware wrappers: an inner optimizer, and the old weights in its own state."""

    def __init__(self, params, inner):
        super().__init__(params, {"lr": 1e-3, "rho": 0.05})
        self.base_optimizer = inner(self.param_groups)
        self.param_groups = self.base_optimizer.param_groups

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.state[parameter]["old"] = parameter.detach().clone()
        self.base_optimizer.step()


class Container(Optimizer):
    """As torchtitan's: groups of its own that nothing looks at."""

    def __init__(self, optimizers):
        self.optimizers = optimizers
        super().__init__([p for o in optimizers for g in o.param_groups for p in g["params"]], {"lr": 0.5})

    def step(self, closure=None):
        for optimizer in self.optimizers:
            optimizer.step()


class Layerwise(Optimizer):
    """As transformers' for layer-wise updates: it holds a tensor that is none of the model's."""

    def __init__(self, by_parameter):
        self.optimizer_dict = by_parameter
        super().__init__([torch.zeros(1)], {"lr": 1e-3})

    def step(self, closure=None):
        for optimizer in self.optimizer_dict.values():
            optimizer.step()


class Sorted(Optimizer):
    """Several of each kind, and none that is held directly."""

    def __init__(self, optimizers, put):
        self.held = put(optimizers)
        self._all = lambda: optimizers
        super().__init__([p for o in optimizers for g in o.param_groups for p in g["params"]], {"lr": 1e-3})

    def step(self, closure=None):
        for optimizer in self._all():
            optimizer.step()


class Slow(Optimizer):
    """The first Lookahead there was: slow weights in a list of lists, and numbers of its own."""

    def __init__(self, inner):
        self._optimizer_step_pre_hooks, self._optimizer_step_post_hooks = OrderedDict(), OrderedDict()
        self.optimizer, self.param_groups, self.defaults = inner, inner.param_groups, inner.defaults
        self.state = inner.state
        self.slow = [[p.detach().clone() for p in group["params"]] for group in inner.param_groups]
        self.distance, self.count = 0.0, 0

    def step(self, closure=None):
        self.optimizer.step()
        self.count += 1
        self.distance += 0.5
        for group, slow in zip(self.param_groups, self.slow, strict=True):
            for fast, kept in zip(group["params"], slow, strict=True):
                kept.lerp_(fast.detach(), 0.5)


class Tuned(AdamW):
    """As mechanic: a state that belongs to no parameter, with tensors by name and by parameter."""

    def step(self, closure=None):
        super().step()
        first = self.param_groups[0]["params"][0]
        mine = self.state.setdefault(
            "_tuner", {"s": torch.zeros(2), "count": 0, first: {"delta": torch.zeros(3)}}
        )
        mine["s"] += 1
        mine["count"] += 1
        mine[first]["delta"] += first.detach().flatten()[:3]

    def zero_grad(self, set_to_none=True):
        super().zero_grad(set_to_none)


MAKERS = {
    "lookahead": lambda model: Lookahead(AdamW(model.parameters())),
    "sharpness": lambda model: Sharpness(model.parameters(), AdamW),
    "container": lambda model: Container([SGD([model.weight], lr=1e-3, momentum=0.9), AdamW([model.bias])]),
    "layer-wise": lambda model: Layerwise({p: AdamW([p]) for p in model.parameters()}),
    "of no parameter": lambda model: Tuned(model.parameters()),
    "lookahead in a container": lambda model: Container([Lookahead(AdamW(model.parameters()))]),
}


def leaves(optimizer):
    """Those that really step."""
    inner = [
        each
        for value in vars(optimizer).values()
        for each in (
            value.values() if isinstance(value, dict) else value if isinstance(value, list) else [value]
        )
        if isinstance(each, Optimizer)
    ]
    return [leaf for each in inner for leaf in leaves(each)] or [optimizer]


def everything(optimizer):
    """A deep copy of all states: by the shapes of the parameters, which are all different, and by names."""
    return [_plain(each.state) for each in [optimizer, *leaves(optimizer)]]


def _plain(value):
    if isinstance(value, dict):
        return {
            (tuple(key.shape) if isinstance(key, torch.Tensor) else key): _plain(inner)
            for key, inner in value.items()
        }
    return value.tolist() if isinstance(value, torch.Tensor) else copy.deepcopy(value)


@pytest.mark.parametrize(
    "put",
    [
        lambda optimizers: {"matrices": optimizers[:1], "rest": optimizers[1:]},
        lambda optimizers: [[tuple(optimizers)]],
        set,
        lambda optimizers: SimpleNamespace(inner=optimizers, elsewhere=[SGD([torch.zeros(1)], lr=0.5)]),
    ],
    ids=["a dict of lists", "lists of lists", "a set", "an object"],
)
def test_optimizers_are_found_however_they_are_held(put):
    model = nn.Linear(3, 4)
    inner = [SGD([model.weight], lr=1e-3, momentum=0.9), AdamW([model.bias], lr=1e-3)]
    optimizer = Sorted(inner, put)
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    expected = core_lrs(made.config, v_curve())
    for step, loss in enumerate(v_curve()[:100], 1):
        made.step(loss)
        assert [each.param_groups[0]["lr"] for each in inner] == [expected[step]] * 2
    if isinstance(optimizer.held, SimpleNamespace):
        assert optimizer.held.elsewhere[0].param_groups[0]["lr"] == 0.5  # it is somebody else's


class Data(list):
    """What is never to be gone through."""

    def __iter__(self):
        raise AssertionError("each sample was looked at")


def test_the_data_of_a_trainer_that_is_referred_to_are_not_gone_through():
    optimizer = SGD([nn.Parameter(torch.ones(2))], lr=0.1)
    optimizer.trainer = SimpleNamespace(optimizers=[optimizer], data=Data([{}] * 20_000))
    made = autowu.AutoWU(optimizer, STEPS)
    for loss in v_curve()[:70]:
        made.step(loss)
    assert made.rewinds


def test_what_an_optimizer_keeps_in_lists_and_as_numbers_goes_back_also_where_it_is_loaded():
    def go(made, optimizer, model):
        kept = None
        for loss in v_curve()[made.last_epoch :]:
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, 0.1)
            optimizer.step()
            made.step(loss)
            if made.switch:
                return kept
            if made._session.state.snapshot_step == made.last_epoch:
                kept = copy.deepcopy((optimizer.slow, optimizer.distance, optimizer.count))
            if made.last_epoch == 66:
                saved.append(copy.deepcopy(made.state_dict()))
        raise AssertionError

    saved, model = [], nn.Linear(3, 4)
    optimizer = Slow(SGD(model.parameters(), lr=0.1))
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    kept = go(made, optimizer, model)
    assert all(torch.equal(one, two) for one, two in zip(optimizer.slow[0], kept[0][0], strict=True))
    assert (optimizer.distance, optimizer.count) == kept[1:] == (31.0, 62)

    model = nn.Linear(3, 4)
    optimizer = Slow(SGD(model.parameters(), lr=0.1))
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    made.load_state_dict(saved[0])
    go(made, optimizer, model)
    assert all(torch.equal(one, two) for one, two in zip(optimizer.slow[0], kept[0][0], strict=True))
    assert (optimizer.distance, optimizer.count) == kept[1:]


@pytest.mark.parametrize("name", MAKERS)
def test_the_groups_that_step_are_driven_and_all_state_goes_back(name):
    torch.manual_seed(0)
    model = nn.Linear(3, 4)
    optimizer = MAKERS[name](model)
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    expected = core_lrs(made.config, v_curve())
    kept = None
    for step, loss in enumerate(v_curve(), 1):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        optimizer.step()
        made.step(loss)
        for leaf in leaves(optimizer):
            assert [group["lr"] for group in leaf.param_groups] == [expected[step]] * len(leaf.param_groups)
        if made.switch:
            break
        if made._session.state.snapshot_step == step:
            kept = copy.deepcopy(model.state_dict()), everything(optimizer)
    weights, states = kept
    assert all(torch.equal(model.state_dict()[each], weights[each]) for each in weights)
    assert everything(optimizer) == states


@pytest.mark.parametrize("name", MAKERS)
def test_a_saved_snapshot_of_nested_optimizers_goes_back_where_it_is_loaded(name):
    def begin():
        torch.manual_seed(0)
        model = nn.Linear(3, 4)
        optimizer = MAKERS[name](model)
        return model, optimizer, autowu.AutoWU(optimizer, STEPS, model=model)

    model, optimizer, made = begin()
    for loss in v_curve()[:62]:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        optimizer.step()
        made.step(loss)
    assert made._session.state.snapshot_step == 62
    weights, states = copy.deepcopy(model.state_dict()), everything(optimizer)
    other, its, again = begin()
    again.load_state_dict(made.state_dict())
    for loss in v_curve()[62:70]:
        again.step(loss)
    assert again.switch.rewound_to == 62
    assert all(torch.equal(other.state_dict()[each], weights[each]) for each in weights)
    assert everything(its) == states


@pytest.mark.filterwarnings("ignore:AutoWU. .* not finite")
def test_a_nan_batch_in_warm_up_does_not_stay_in_the_slow_weights():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = Lookahead(AdamW(model.parameters()))
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    for step, loss in enumerate(v_curve()):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, float("nan") if step == 63 else 0.1)
        optimizer.step()
        made.step(loss if step < 63 or made.switch else float("nan"))
    assert made.switch.rewound_to is not None
    slow = [optimizer._base_optimizer.state[parameter]["slow"] for parameter in model.parameters()]
    assert all(each.isfinite().all() for each in [*model.parameters(), *slow])


class Averaging(Optimizer):
    """As PyTorch's PostLocalSGDOptimizer: it has groups and state of the one within, and no defaults."""

    def __init__(self, inner):
        self.optim, self.param_groups = inner, inner.param_groups

    @property
    def state(self):
        return self.optim.state

    def step(self, closure=None):
        self.optim.step()


@pytest.mark.parametrize("lr", [0.1, torch.tensor(0.1)])
def test_a_wrapper_without_defaults_has_those_of_the_one_within(lr):
    model = nn.Linear(3, 4)
    groups = [{"params": [model.weight]}, {"params": [model.bias], "lr": lr / 10}]
    optimizer = Averaging(SGD(groups, lr=lr, momentum=0.9))
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    for loss in v_curve()[:100]:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.1)
        optimizer.step()
        made.step(loss)
    assert made.rewinds
    first, second = (float(group["lr"]) for group in optimizer.optim.param_groups)
    assert first == pytest.approx(made.learning_rate)
    assert second == pytest.approx(first / 10)
