"""A replay in words: what was read, what was decided and why, and the last tests as a table."""

from __future__ import annotations

import math
from typing import Final

import numpy as np

from autowu.controller.cuts import taken_back
from autowu.controller.ending import sweep_end
from autowu.controller.rate import cap
from autowu.controller.state import Grow, Reason, Search, Sweep, Switch
from autowu.detector.detect import Verdict
from autowu.offline.logs import Record
from autowu.offline.replay import Replay

SHOWN: Final = 10
"""The most tests in the table."""


def premise(name: str, record: Record, replay: Replay, preset: str) -> str:
    """What the replay is of."""
    config, missing = replay.config, int((~np.isfinite(record.losses)).sum())
    whole = record.updates == config.total_steps
    every = f"; a loss for every {record.stride:,} updates" if record.stride > 1 else ""
    lost = count(missing, "loss", "losses") if missing else "no losses"
    notes = "".join(f" ({note}.)" for note in record.notes)
    if config.total_steps is None or whole:
        known = ", the whole run" if whole else " of a run without a known end"
        of = f"{count(record.updates, 'update')}{known}"
    else:
        of = f"{record.updates:,} of {count(config.total_steps, 'update')}"
    given = config.max_lr is not None or config.growth != "two-speed"
    most = f"{config.high_lr:g}"
    bound = f"at most {most}" if given else f"{most}, or more if the loss still falls,"
    epochs = f", {count(config.steps_per_epoch, 'update')} in an epoch" if config.steps_per_epoch else ""
    return (
        f"{name}: {of}{every}; {lost} missing or not finite.{notes} "
        f"Preset {preset}{epochs}. Learning rates are those of its warm-up, whatever the record's were: "
        f"from {config.min_lr:g} to {bound} in at most {_limit(replay)}."
    )


def count(number: int, one: str, more: str | None = None) -> str:
    """'1 update', '1,000 updates'."""
    return f"{number:,} {one if number == 1 else more or f'{one}s'}"


def _limit(replay: Replay) -> str:
    """How many updates warm-up takes if nothing ends it, as far as that is known by the record's end."""
    config, phase, switch = replay.config, replay.state.phase, replay.state.switch
    if switch is not None and switch.capped:
        return count(switch.step, "update")
    if isinstance(phase, Sweep):  # the slow growth that follows begins at its end, or before
        most = min(sweep_end(config, phase.growth) + config.growth_steps, config.warmup_steps)
    else:
        most = cap(config, phase.growth)
    anew = isinstance(phase, (Sweep, Search)) and config.growth == "two-speed" and most < config.warmup_steps
    return count(most, "update") + (", or more if the loss rises" if anew else "")


def decision(record: Record, replay: Replay) -> str:
    """When the decay phase began, where the minimum was, and the learning rate there; or why it did not."""
    cuts = "".join(f" {_cut(replay, at)}" for at in range(len(replay.cuts)))
    return _last(replay, _few(record, replay)) + cuts


def _few(record: Record, replay: Replay) -> str | None:
    """How many losses there were for the decision, where they are too few for a test."""
    switch, least = replay.state.switch, replay.config.min_losses
    seen = record.losses if switch is None else record.losses[: switch.step // record.stride]
    finite = int(np.isfinite(seen).sum())
    return f"{finite}, of at least {least}" if finite < least else None


def _cut(replay: Replay, at: int) -> str:
    cut = replay.cuts[at]
    if taken_back(replay.cuts, at):
        high = f"as high all the same ({cut.level:.3g})" if math.isfinite(cut.level) else "no better"
        return (
            f"At step {cut.step:,} it was {high}, so the learning rate was not to blame, and other data may "
            "be: it would have been what it was."
        )
    if not math.isfinite(cut.level):
        risen = "most losses were not finite"
    elif math.isfinite(cut.least):
        risen = f"the loss had risen for good, from {cut.least:.3g} to {cut.level:.3g}"
    else:
        risen = f"the loss had risen for good, to {cut.level:.3g}"
    return f"At step {cut.step:,} {risen}: the learning rate would have been cut to a third."


def _last(replay: Replay, few: str | None) -> str:
    config, switch = replay.config, replay.state.switch
    if switch is None:
        return f"No switch within the record. {_waiting(replay, few)}"
    rate, stable = f"{switch.peak_lr:.3g}", replay.state.stage == "stable"
    begins = "The stable phase begins with" if stable else f"The decay ({config.decay}) begins with"
    if switch.t_star is None:
        risen = switch.reason is Reason.RISE and not switch.capped
        tenth = ", a tenth of that at which it had risen or less" if risen else ""
        at = f"{begins} learning rate {rate}{tenth}."
    elif switch.reason is Reason.NONFINITE:
        at = (
            f"The last learning rate known to be good was that of step {switch.t_star:,.1f}. "
            f"{begins} {rate}{', half of it' if config.rewind else ''}."
        )
    else:
        at = f"{_where(replay, switch.t_star)}, where the learning rate was {rate}. {begins} that" + (
            "." if switch.rewound_to is None else f", and with the weights of step {switch.rewound_to:,}."
        )
    return f"At step {switch.step:,} {_reason(replay, switch, few)}. {at}"


def _where(replay: Replay, t_star: float) -> str:
    """The step that the decay's learning rate is of."""
    seen = _least(replay)
    if seen is None:
        return f"Lift-off, the first fall of the loss beyond noise, was at step {t_star:,.0f}"
    detected = replay.state.switch is not None and replay.state.switch.reason is Reason.MINIMUM
    least = f"{'It lay' if detected else 'The smoothed loss was least'} at step {seen:,.1f}"
    if t_star == seen:
        return least
    flat = f"a flat part of the loss (within {100 * (replay.config.basin or 0):.3g}% of its fall)"
    return f"{least}, at the end of {flat}, whose middle is step {t_star:,.1f}"


def _least(replay: Replay) -> float | None:
    """t* of Eq. 5 by the last test; None where that had no evidence, or there was none."""
    return replay.tests[-1].t_star if replay.tests else None


def _reason(replay: Replay, switch: Switch, few: str | None) -> str:
    """What ended warm-up."""
    if switch.reason is Reason.NONFINITE:
        known = f", and too few before to tell anything ({few})" if few else ""
        times = _times(switch.reads, "check")
        return f"no loss was recorded any more, or none that is finite ({times}){known}"
    if switch.capped:
        return f"warm-up came to its cap of {count(switch.step, 'update')}{_at_cap(replay, switch, few)}"
    if switch.reason is Reason.RISE:
        return "the loss had risen for good without having fallen"
    return f"the minimum of the loss was detected ({_times(switch.reads, 'test')})"


def _at_cap(replay: Replay, switch: Switch, few: str | None) -> str:
    """What was known when warm-up came to its cap."""
    if switch.reason in (Reason.RISE, Reason.NO_FALL):
        why = (
            f"there were too few losses to tell whether it fell ({few})" if few else "the loss had not fallen"
        )
        return f" and had found no minimum; {why}, and no learning rate is known to be good"
    if switch.reason is Reason.MINIMUM:
        return ", and its last test detected the minimum of the loss"
    if switch.t_star is None or _least(replay) is not None:
        return f" and had found no minimum of the loss{f': there were too few losses ({few})' if few else ''}"
    return " before a test could tell where the minimum of the loss is"


def _waiting(replay: Replay, few: str | None) -> str:
    """Why warm-up has not ended."""
    config, state, tests = replay.config, replay.state, replay.tests
    phase = state.phase
    if few:
        why = f"There are too few losses yet to tell of a minimum ({few})"
    elif isinstance(phase, (Sweep, Search)):
        why = "The loss has not fallen by more than its noise explains, and before that no test is made"
    elif isinstance(phase, Grow) and state.read > max(phase.lift_off, tests[-1].step if tests else 0):
        why = "The loss is falling so plainly that the last check needed no test"
    elif not tests:
        why = "No test was due yet"
    elif tests[-1].streak:
        why = (
            f"{'The last test' if tests[-1].streak == 1 else f'The last {tests[-1].streak} tests'} "
            f"detected the minimum of the loss, of the {config.patience} in a row that are needed"
        )
    elif tests[-1].no_evidence:
        why = f"The last test had no evidence ({tests[-1].no_evidence})"
    else:
        why = f"The last of {len(tests)} tests did not detect the minimum of the loss"
    return f"{why}; without one, warm-up takes {_limit(replay)}."


def _times(count: int, what: str) -> str:
    return f"1 {what}" if count == 1 else f"{count} {what}s in a row"


def table(replay: Replay) -> list[str]:
    """The last tests, one line each, under a heading."""
    tests = replay.tests
    if not tests:
        return ["No tests."]
    title = "1 test" if len(tests) == 1 else f"{len(tests)} tests"
    if len(tests) > SHOWN:
        title = f"The last {SHOWN} of {title}"
    return [
        f"{title} (a P_min above {replay.config.confidence:g} says that the minimum is past):",
        f"{'step':>10}  {'LR':>9}  {'P_min':>6}  {'past':>6}  {'minimum at':>11}  in a row",
        *(_row(replay, test) for test in tests[-SHOWN:]),
    ]


def _row(replay: Replay, test: Verdict) -> str:
    """One test; P_min is the median of the subsets', which is what a majority turns on."""
    lead = f"{test.step:>10,}  {replay.learning_rates[test.step - 1]:>9.3g}"
    if not test.p_min:
        return f"{lead}  no evidence: {test.no_evidence}"
    at = "-" if test.t_star is None else f"{test.t_star:,.1f}"
    votes, subsets = test.votes(replay.config.confidence), len(test.p_min)
    of = f"{votes} of {subsets}" if subsets > 1 else "yes" if votes else "no"
    return f"{lead}  {np.median(test.p_min):>6.3f}  {of:>6}  {at:>11}  {test.streak:>8}"
