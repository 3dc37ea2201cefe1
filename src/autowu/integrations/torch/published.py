"""The class of the same name in the repository of the paper's authors: what its arguments are called here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from autowu.site import page


def check_arguments(second: object, more: Sequence[object], settings: Mapping[str, object]) -> None:
    """Whether the arguments are those of this class.

    Args:
        second: the second argument, where it was given.
        more: those after it, given by position.
        settings: those given by name.

    Raises:
        TypeError: there are more than two by position, or ``total_epochs``, which the published class has, or
            ``last_epoch``, which PyTorch's schedulers have; the message says what to write.
    """
    if "last_epoch" in settings:
        raise TypeError(
            f"AutoWU must be without last_epoch, not with {settings['last_epoch']!r}: it begins anew, or goes"
            " on from its own state by load_state_dict(state). (What makes a scheduler with it, such as"
            " skorch's LRScheduler, has no loss for step() either.)"
        )
    if not more and "total_epochs" not in settings:
        return
    steps = settings.get("steps_per_epoch") if second is None else second
    epochs = more[0] if more else settings["total_epochs"]
    wrong = f"not also {', '.join(map(repr, more))} by position" if more else f"not total_epochs={epochs!r}"
    raise TypeError(
        f"AutoWU takes (optimizer, total_steps), and the rest by name, {wrong}. In the code of the paper's"
        " authors the second argument is steps_per_epoch, the third total_epochs; that is, here:"
        f" AutoWU(optimizer, total_steps={steps!r} * {epochs!r}, steps_per_epoch={steps!r}, preset='paper')."
        " The default preset needs total_steps alone, the optimizer updates of the whole run. What differs:"
        f" {page('faq', 'is-this-the-code-of-the-papers-authors')}"
    )
