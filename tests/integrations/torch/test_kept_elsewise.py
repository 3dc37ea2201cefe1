"""What optimizers keep that is no data, cannot be copied, or is something else's: all of it stays usable."""

import copy
import io
import threading

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, Optimizer

from integrations.torch.training import Training, v_curve


class Kron(Optimizer):
    """As K-FAC's: a group for each layer, which it names, and state by layer that a forward pass fills."""

    def __init__(self, model, lr=1e-2):
        layers = [each for each in model.modules() if isinstance(each, nn.Linear)]
        groups = [
            {"params": list(layer.parameters()), "layer": layer, "named": list(layer.named_parameters())}
            for layer in layers
        ]
        super().__init__(groups, {"lr": lr, "kind": nn.Linear, "norm": torch.norm})
        for layer in layers:
            layer.register_forward_pre_hook(self._note)

    def _note(self, layer, inputs):
        state = self.state[layer]
        state["inputs"] = state.get("inputs", 0.0) + inputs[0].detach().square().mean()

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            scale = group["norm"](self.state[group["layer"]]["inputs"]) + 1
            for _, parameter in group["named"]:
                parameter.sub_(parameter.grad / scale, alpha=group["lr"])


def until_kept(training):
    """The state of the run right after its first snapshot of state, as it is loaded from a file."""
    while not training.scheduler._session.state.snapshot_step:
        training.update()
        training.scheduler.step(v_curve()[training.scheduler.last_epoch])
    file = io.BytesIO()
    torch.save(training.scheduler.state_dict(), file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def until_rewound(training, *, note=lambda: None):
    """What ``note`` gave at the step that the run went back to."""
    noted = {}
    for loss in v_curve()[training.scheduler.last_epoch :]:
        training.update()
        noted[training.scheduler.last_epoch + 1] = copy.deepcopy(note())
        training.scheduler.step(loss)
        if training.scheduler.rewinds:
            return noted[training.scheduler.switch.rewound_to]
    raise AssertionError("the weights have not gone back")


def of_layers(**settings):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 24), nn.ReLU(), nn.Linear(24, 10))
    return Training(lambda _: Kron(model), model=model, **settings)


@pytest.mark.parametrize("with_model", [True, False])
def test_what_a_group_refers_to_is_not_copied(with_model):
    """A copy in its place would be trained instead of the model."""
    training = of_layers(buffers=with_model)
    layer = training.model[0]
    noted = until_rewound(training, note=lambda: training.optimizer.state[layer]["inputs"])
    group = training.optimizer.param_groups[0]
    assert group["layer"] is layer
    assert group["named"][0][1] is layer.weight
    assert torch.equal(training.optimizer.state[layer]["inputs"], noted)
    before = layer.weight.clone()
    training.update()
    assert not torch.equal(layer.weight, before)


def test_what_a_group_refers_to_is_in_no_checkpoint():
    again = of_layers()
    again.scheduler.load_state_dict(until_kept(of_layers()))
    until_rewound(again)
    assert again.optimizer.param_groups[0]["layer"] is again.model[0]
    again.update()


class OneByOne(Optimizer):
    """Moves one parameter after the other."""

    def __init__(self, params):
        super().__init__(params, {"lr": 1e-2})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                self.move(parameter, group["lr"])


class Locked(OneByOne):
    """State that no copy can be taken of, made at the first step."""

    def move(self, parameter, lr):
        state = self.state[parameter]
        if not state:
            state.update(lock=threading.Lock(), once=torch.zeros_like(parameter), scale=abs)
        with state["lock"]:
            state["once"].mul_(0.9).add_(parameter.grad)
            parameter.sub_(state["once"], alpha=state["scale"](lr))


@pytest.mark.parametrize("loaded", [False, True])
def test_state_that_cannot_be_copied_stays_and_the_rest_goes_back(loaded):
    training = Training(Locked)
    first = next(training.model.parameters())
    with pytest.warns(UserWarning, match=r"0\.weight / lock of the optimizer cannot be copied \(TypeError\)"):
        saved = until_kept(training)
    if loaded:
        training.scheduler.load_state_dict(saved)
    noted = until_rewound(training, note=lambda: training.optimizer.state[first]["once"])
    assert torch.equal(training.optimizer.state[first]["once"], noted)
    training.update()


class Previous(OneByOne):
    """Its state is the gradient of before itself, which ``zero_grad()`` lets go of."""

    def move(self, parameter, lr):
        parameter.sub_(parameter.grad, alpha=lr)
        self.state[parameter]["previous"] = parameter.grad


def test_state_that_is_the_gradient_itself_goes_back():
    training = Training(Previous)
    first = next(training.model.parameters())
    noted = until_rewound(training, note=lambda: training.optimizer.state[first]["previous"])
    assert noted.abs().sum() > 0
    assert torch.equal(training.optimizer.state[first]["previous"], noted)
    assert first.grad.abs().sum() == 0


def test_gradients_that_were_made_under_inference_mode_are_zeroed():
    """As those of evolution strategies, which need no backward pass."""
    training = Training(SGD)
    for loss in v_curve():
        with torch.inference_mode():
            for parameter in training.model.parameters():
                parameter.grad = torch.ones_like(parameter)
        training.scheduler.step(loss)
        if training.scheduler.rewinds:
            break
    assert training.scheduler.switch.rewound_to is not None
    assert all(parameter.grad.abs().sum() == 0 for parameter in training.model.parameters())


class Counting(SGD):
    """It counts by numbers of NumPy's."""

    def __init__(self, params):
        super().__init__(params, lr=1e-2)
        self.wide, self.short, self.steps = np.float64(0), np.float32(0), np.int64(0)

    def step(self, closure=None):
        self.wide, self.short, self.steps = self.wide + 1, self.short + np.float32(1), self.steps + 1
        return super().step(closure)


def test_numbers_of_numpys_go_back_as_such_and_are_saved_as_plain_ones():
    training = Training(Counting)
    training.scheduler.load_state_dict(until_kept(training))
    until_rewound(training)
    back_to, optimizer = training.scheduler.switch.rewound_to, training.optimizer
    assert (optimizer.wide, optimizer.short, optimizer.steps) == (back_to, back_to, back_to)
    kinds = [type(each) for each in (optimizer.wide, optimizer.short, optimizer.steps)]
    assert kinds == [np.float64, np.float32, np.int64]
