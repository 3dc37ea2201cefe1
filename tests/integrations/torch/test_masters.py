"""Where the optimizer trains copies of the model's weights, as ZeRO's does, the model goes back with them."""

import re

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

import autowu
from integrations.torch.training import STEPS, Training, mlp, v_curve


class Zero:
    """What ZeRO does to an optimizer: one flat parameter, copied to the model's after a step."""

    def __init__(self, training: Training, *, linked: bool = True, marked: bool = False) -> None:
        self.optimizer = training.optimizer
        self.model = list(training.model.parameters())
        self.flat = nn.Parameter(nn.utils.parameters_to_vector(self.model).detach())
        self.optimizer.param_groups[0]["params"] = [self.flat]
        start = 0
        for parameter in self.model:
            if linked:
                part = self.flat.detach()[start : start + parameter.numel()]
                parameter.get_full_hp_param = lambda part=part, like=parameter: part.view_as(like).clone()
            if marked:
                parameter.ds_id = start
            start += parameter.numel()

    def step(self) -> None:
        self.flat.grad = nn.utils.parameters_to_vector([parameter.grad for parameter in self.model])
        self.optimizer.step()
        nn.utils.vector_to_parameters(self.flat.detach().clone(), self.model)
        for parameter in self.model:
            parameter.grad = None


def train(training: Training, zero: Zero, losses: list[float], copies: dict[int, list[Tensor]]) -> None:
    """To the switch, by the given losses and with real gradients."""
    for step, loss in enumerate(losses):
        copies[step] = [parameter.detach().clone() for parameter in training.model.parameters()]
        training.loss(step).backward()
        zero.step()
        training.scheduler.step(loss)
        if training.scheduler.switch is not None:
            return


@pytest.mark.parametrize("buffers", [True, False], ids=["with model=", "without"])
@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_the_model_goes_back_with_the_copies_that_are_trained(optimizer, buffers):
    training = Training(optimizer, buffers=buffers)
    zero, copies = Zero(training), dict[int, list[Tensor]]()
    train(training, zero, v_curve(), copies)
    back_to = training.scheduler.switch.rewound_to
    assert 0 < back_to < training.scheduler.switch.step
    for parameter, then in zip(training.model.parameters(), copies[back_to], strict=True):
        assert torch.equal(parameter, then)
    assert torch.equal(zero.flat, nn.utils.parameters_to_vector(copies[back_to]))


UNKNOWN = [
    (True, {"linked": False}, "holds none of the parameters of model="),
    (False, {"linked": False, "marked": True}, "ZeRO stage 3"),
]


@pytest.mark.parametrize(("buffers", "kind", "named"), UNKNOWN)
def test_copies_whose_way_to_the_model_is_not_known_are_told_of_at_the_first_snapshot(buffers, kind, named):
    training = Training(SGD, buffers=buffers)
    zero = Zero(training, **kind)
    with pytest.warns(UserWarning, match=rf"cannot be rewound: .*{named}.* Give rewind=False") as told:
        train(training, zero, v_curve()[:40], {})
    assert training.scheduler.phase == "warmup"
    assert len(told) == 1
    with pytest.warns(UserWarning, match=f"stay as they are: .*{named}"):
        train(training, zero, v_curve()[40:], {})
    assert training.scheduler.switch.rewound_to is None


def test_a_scheduler_that_is_made_after_the_copies_calls_none_of_the_model_a_stranger():
    training = Training(SGD)
    Zero(training)
    autowu.AutoWU(training.optimizer, STEPS, model=training.model)
    other = mlp()
    with pytest.warns(UserWarning, match=re.escape("no optimizer that it was given holds 0.weight")):
        autowu.AutoWU(training.optimizer, STEPS, model=other)
