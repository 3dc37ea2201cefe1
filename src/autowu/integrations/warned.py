"""What a run is warned of, in every host."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

from autowu.config import Config
from autowu.controller import copies
from autowu.controller.phases import watch
from autowu.controller.rate import grown
from autowu.controller.state import AfterSwitch, Cut, Grow, Phase, Reason, Search, State, Sweep
from autowu.detector import noise, trend
from autowu.site import page
from autowu.text import apart

SHORT: Final = 300  # updates; in shorter runs warm-up often has too few to find the minimum in

NOT_FOR_IT: Final = (
    "If it does not fall with a constant LR that you trust either, look at the loss, the labels, frozen"
    " parameters. If it does not fall by design (GANs, reinforcement learning), AutoWU is not for it, and a"
    f" fixed schedule is: {page('when-not')}"
)
"""What helps where a loss does not fall."""


def warnings_of(
    config: Config,
    before: State[Phase],
    after: State[Phase],
    known_nonfinite: int,
    nonfinite: int,
    obstacle: str | None = None,
) -> Iterator[str]:
    """What to warn of after a decision. Each comes once in a run, but for growth anew and cuts.

    Args:
        config: the run's.
        before: the state that the decision was made in.
        after: the one that it led to.
        known_nonfinite: losses that were not finite, up to the decision before.
        nonfinite: the same, up to this one.
        obstacle: why the weights were not put back, if they were to be and were not.
    """
    if obstacle:
        yield (
            f"AutoWU: at step {after.step} the weights were to go back to those of step"
            f" {before.snapshot_step}, and stay as they are: {obstacle}."
        )
    if nonfinite > known_nonfinite == 0:
        losses = "a loss was" if nonfinite == 1 else f"{nonfinite} losses were"
        yield (
            f"AutoWU: {losses} not finite up to step {after.step}. Such losses are left out of the tests, and"
            " counted in `nonfinite`; this is said once."
        )
    yield from _of_growth_anew(config, before, after)
    yield from _of_a_break(before, after)
    yield from _of_the_watch(config, before, after)
    switch = after.switch
    if before.switch is not None or switch is None:
        return
    begins = "stable phase" if after.stage == "stable" else "decay"
    if switch.reason is Reason.NONFINITE and not switch.capped and config.return_at_cap:
        back = (
            "" if switch.rewound_to is None else f", the weights go back to those of step {switch.rewound_to}"
        )
        yield (
            f"AutoWU: warm-up ended at step {switch.step}{_of(after)}, as losses were not finite any"
            f" more{back}, and the {begins} begins at an LR of {switch.peak_lr:.3g}."
        )
    if not (switch.capped and config.return_at_cap):
        return
    if switch.reason is Reason.MINIMUM:
        return
    short = never = ""
    if after.horizon.end is not None and after.horizon.end < SHORT:
        short = (
            f" A run of fewer than {SHORT} updates is often too short for that: a fixed schedule serves it"
            f" better ({page('quality', 'where-it-loses')})."
        )
    if switch.reason in (Reason.RISE, Reason.NO_FALL):
        never = f" The loss has shown no fall, so that no learning rate is known to be good. {NOT_FOR_IT}"
    bound = ""
    if switch.reason is Reason.CAP and config.max_lr is not None:
        bound = f" (max_lr={config.max_lr:g} bounds its growth: a larger one may let it come to the minimum)"
    yield (
        f"AutoWU: warm-up ended at its cap, step {switch.step}{_of(after)}, before a minimum of the loss was"
        f" detected, and the {begins} begins at an LR of {switch.peak_lr:.3g}{bound}.{short}{never}"
    )


def _of_growth_anew(config: Config, before: State[Phase], after: State[Phase]) -> Iterator[str]:
    phase, known = after.phase, before.phase
    back = ""
    if after.restores > before.restores:
        back = f" The weights go back to those of step {before.snapshot_step}."
    if isinstance(known, Sweep) and isinstance(phase, Sweep) and phase.growth.lr < known.growth.lr:
        if before.snapshot_step != 0:
            back += (
                " If the first updates have spoiled them already, begin anew with"
                f" min_lr={phase.growth.lr:.1g}."
            )
        yield (
            f"AutoWU: by step {after.step}{_of(after)} the loss had grown more than tenfold, or was not"
            f" finite, from an LR of {known.growth.lr:.3g} on. Growth begins anew, at"
            f" {phase.growth.lr:.3g}.{back} Inputs and targets of about 1 in size need no LR as small."
        )
    if not isinstance(known, Grow):
        return
    risen_at = phase.too_large if isinstance(phase, Search) and phase.too_large else math.inf
    if risen_at < grown(config, known.growth, after.step):
        yield (
            f"AutoWU: by step {after.step}{_of(after)} the loss and its noise had fallen as they do where a"
            " network comes to give all inputs the same answer, its units being dead or saturated. Growth"
            f" begins anew, at an LR of {phase.growth.lr:.3g}.{back} Inputs of about 1 in size would not lead"
            " there."
        )
    elif after.switch is not None and _quiet(config, before):
        yield (
            f"AutoWU: warm-up has ended at step {after.step}{_of(after)}, with a loss as quiet as that of a"
            " network that gives all inputs the same answer. If its predictions are all the same, its units"
            " are dead or saturated: scale the inputs, or begin anew with"
            f" {_below(config, after.switch.peak_lr / 30)}."
        )


def _quiet(config: Config, state: State[Phase]) -> bool:
    """Whether the last losses are those of the same answer. (Without noise a fall alone may look so.)"""
    last = noise.finite(state.losses)[-trend.LAST :]
    return copies.constant(state) is True and trend.shift(last, config.fall_threshold) >= 0


def _of_a_break(before: State[Phase], after: State[Phase]) -> Iterator[str]:
    phase, known = after.phase, before.phase
    if not (isinstance(phase, Grow) and isinstance(known, Grow)) or phase.broke is None or known.broke:
        return
    what = "ceased to be finite" if before.nonfinite_reads else "jumped"
    yield (
        f"AutoWU: at step {after.step}{_of(after)} the loss had {what}, at an LR of {phase.broke.lr:.3g}. One"
        " bad batch, or other data, may do that: the weights go back to those of step"
        f" {before.snapshot_step}, and warm-up goes on from there. If it happens again, the LR was too large."
    )


def _risen(cut: Cut) -> str:
    """What the loss had done: by as many digits as tell its levels apart."""
    if not math.isfinite(cut.level):
        return "was not finite"
    least, level = apart(cut.least, cut.level)
    return f"had risen from {least} to {level}"


def _of(state: State[Phase]) -> str:
    return "" if state.horizon.end is None else f" of {state.horizon.end}"


def _below(config: Config, lr: float) -> str:
    """The settings that keep the LR below this one: growth needs room below them."""
    return f"max_lr={lr:.1g}" + (f" and min_lr={lr / 1e3:.1g}" if lr <= 2 * config.min_lr else "")


def _of_the_watch(config: Config, before: State[Phase], after: State[Phase]) -> Iterator[str]:
    phase, known = after.phase, before.phase
    if not isinstance(phase, AfterSwitch):
        return
    told, of = known if isinstance(known, AfterSwitch) else None, _of(after)
    for cut in phase.cuts[len(told.cuts) if told else 0 :]:
        last = phase.cuts[: phase.cuts.index(cut)]
        factor = last[-1].factor if last else 1.0
        if cut.factor > factor:
            yield (
                f"AutoWU: after the weights had gone back the loss was as high at once ({cut.level:.3g}): at"
                f" step {cut.step} it is taken that the data have changed, and the LR is not cut any more."
            )
            continue
        risen = _risen(cut)
        where = (
            "stay as they are, since there is no snapshot"
            if cut.back_to is None
            else (f"go back to those of step {cut.back_to}")
        )
        yield (
            f"AutoWU: at step {cut.step}{of} the loss {risen}, and so the LR was too"
            f" large. It falls to a third, and the weights {where}."
        )
    if phase.least is not None and len(told.higher if told else ()) < watch.LASTS == len(phase.higher):
        least, level = apart(phase.least.median, phase.higher[-1])
        yield (
            f"AutoWU: at step {after.step}{of} the loss is at {level}, and has been above its least level,"
            f" {least}, for the last {watch.LASTS * watch.stretch(config, after)} updates. That is too little"
            " to put weights back for, and may be the data. If it is not, the LR is too large: a run with"
            f" {_below(config, watch.CUT * phase.switch.peak_lr)} may end lower."
        )
    if phase.no_fall and not (told and told.no_fall):
        yield (
            f"AutoWU: at step {after.step}{of} the loss is not below its first values by more than noise"
            " explains. Where the weights had been trained before, it may fall as the LR does, and all is"
            f" well. Else: {NOT_FOR_IT[0].lower()}{NOT_FOR_IT[1:]}"
        )
