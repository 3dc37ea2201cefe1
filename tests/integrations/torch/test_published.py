"""Arguments as the published class of the same name takes them: the message says what to write here."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

import autowu


def optimizer() -> torch.optim.Optimizer:
    return torch.optim.SGD([torch.nn.Parameter(torch.zeros(2))], lr=0.5)


def written(message: str) -> Any:
    """What the message says to write, as Python understands it."""
    call = re.search(r"AutoWU\(optimizer, total_steps=.*?\)", message)
    assert call is not None, message
    return eval(f"autowu.{call[0]}", {"autowu": autowu, "optimizer": optimizer()})


@pytest.mark.parametrize(
    ("arguments", "settings", "received"),
    [
        ((391, 200), {}, "not also 200 by position"),
        ((391, 200, 1e-5, 1.0), {}, "not also 200, 1e-05, 1.0 by position"),
        ((391, 200), {"immediate_cooldown": True, "cooldown_type": "cosine"}, "not also 200 by position"),
        ((391,), {"total_epochs": 200}, "not total_epochs=200"),
        ((), {"steps_per_epoch": 391, "total_epochs": 200}, "not total_epochs=200"),
    ],
)
def test_the_message_has_what_to_write(arguments: Any, settings: Any, received: str) -> None:
    of = optimizer()
    with pytest.raises(TypeError, match=re.escape(received)) as raised:
        autowu.AutoWU(of, *arguments, **settings)
    assert of.param_groups[0]["lr"] == 0.5  # untouched
    scheduler = written(str(raised.value))
    assert scheduler.config == autowu.Config.paper(391 * 200, 391)


def test_two_arguments_by_position_are_as_ever() -> None:
    assert autowu.AutoWU(optimizer(), 391).total_steps == 391


def test_an_unknown_setting_is_still_told_by_name() -> None:
    with pytest.raises(TypeError, match="autowu has no setting 'immediate_cooldown'"):
        autowu.AutoWU(optimizer(), 391, immediate_cooldown=True)  # type: ignore[call-arg]


@pytest.mark.parametrize("last_epoch", [-1, 4])
def test_the_last_epoch_of_other_schedulers_is_told_what_stands_in_its_place(last_epoch: int) -> None:
    said = rf"without last_epoch, not with {last_epoch}: .* load_state_dict\(state\)"
    with pytest.raises(TypeError, match=said):
        autowu.AutoWU(optimizer(), 391, last_epoch=last_epoch)


@pytest.mark.filterwarnings("ignore:AutoWU")
def test_former_names_are_still_there() -> None:
    of = optimizer()
    scheduler = autowu.AutoWU(of, 40)
    for loss in [2.0, float("nan"), *[2.0] * 38]:
        of.step()
        scheduler.step(loss)
    assert scheduler.missing == scheduler.nonfinite == 1
    assert autowu.Reopening is autowu.Cut
