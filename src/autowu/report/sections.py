"""The sections of the page: each a heading, the words that explain it, and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from autowu.report import against_lr, controls, decision, figures, speed, sweep_figure, units
from autowu.report.replayed import Replayed
from autowu.report.section import Section
from autowu.runlog.run import Run

GROWS: Final = """
AutoWU lets the learning rate grow{shaded}, and finds out by itself when the loss has passed its minimum. It
then goes back to the learning rate that it had there, or in the middle of a flat part before (★), and lowers
it to zero.
"""
TWO_SPEEDS: Final = (
    "Growth is fast until the loss begins to fall, then slow, from further back: hence the notch."
)
CUTS: Final = "Where the loss rises for good, the learning rate falls to a third at once (a thin line)."
FIXED: Final = "A baseline follows a curve that somebody had to choose."
AGAINST: Final = """
The same losses as in warm-up, over the learning rate of their update: this is what AutoWU looks at. From left
to right the loss stays flat while the learning rate is too low to matter, falls while it helps, and rises
once it harms{peaks}. A thin line is the fast growth that comes first.
"""
PEAKS: Final = "; the dotted line is the peak that was chosen"
GP_VIEW: Final = """
The loss of one update is noise around a trend; a Gaussian process, a smoother that knows how sure it is,
draws the trend and a band of two standard deviations (sd) that holds it with 95% probability. Move the slider
through the tests: the window of losses grows (grey is out of its view), and the dotted line marks where the
trend is lowest (t*).
"""
VOTES: Final = """
At each test the losses, or several random subsets of them, say how probable it is that the loss has been
lower than it is now (P_min). Once most of them are above the confidence line in enough tests in a row
(triangles, with their number), the growth of the learning rate ends.
"""
ACCURACY: Final = """
The share that the model gets right of what it has not seen in training: of test images, after each epoch (a
pass over the training data), or of the next characters of a text; the first evaluations may lie below the
picture. A learning rate that is too high shows as a dip, and the last gains come as the learning rate falls.
"""
SPEED: Final = """
Training images, or tokens of a text, a second, without the evaluations. AutoWU reads the losses when a test
is due, some 30 to 110 times in warm-up, and in the decay each fiftieth of the run. A test takes about a
millisecond.
"""


def sections(runs: Sequence[Run]) -> list[Section]:
    """The figures of the page, in the order in which they are read; of many runs, each one's are folded."""
    found = [
        sweep_figure.section(run.range_test, run.losses, run.name if len(runs) > 1 else None)
        for run in runs
        if isinstance(run, Replayed) and run.range_test is not None
    ]
    curves = figures.learning_rate_and_loss(runs)
    curves["layout"]["meta"] = {"units": (known := units.of(runs))}
    found.append(
        Section("Learning rate and loss", _curves(runs), curves, "tall", controls=controls.of(list(known)))
    )
    if any(map(against_lr.shown, runs)):
        against = against_lr.figure(runs)
        words = AGAINST.format(peaks=PEAKS if against["layout"]["shapes"] else "")
        found.append(Section("Loss against learning rate", words, against))
    apart = _run_by_run(runs)
    folded = [section for section in apart if section.folded]
    if not folded:
        found += apart
    if any(run.evaluations for run in runs):
        found.append(Section("Test accuracy", ACCURACY, figures.accuracy(runs)))
    if any(map(speed.measured, runs)):
        found.append(Section("Throughput", SPEED, speed.throughput(runs)))
    return found + folded


def _curves(runs: Sequence[Run]) -> str:
    """What there is to be seen in the first figure of these runs, and no more."""
    adaptive = [run for run in runs if run.adaptive]
    swept = [run for run in adaptive if not isinstance(run, Replayed) or run.range_test is None]
    said = {
        GROWS.format(shaded=" (shaded)" if len(adaptive) <= figures.FEW else ""): adaptive,
        TWO_SPEEDS: [run for run in swept if run.schedule.get("growth") == "two-speed"],
        CUTS: [run for run in runs if run.cuts],
        FIXED: len(adaptive) < len(runs),
    }
    return " ".join(words.strip() for words, seen in said.items() if seen)


def _run_by_run(runs: Sequence[Run]) -> list[Section]:
    found = list[Section]()
    tested = [(i, run) for i, run in enumerate(runs) if run.tests]
    for i, run in tested:
        of = f": {run.name}" if len(tested) > 1 else ""
        seen, votes = decision.gp_view(run, len(tested)), decision.votes(run, len(tested))
        mine: dict[str, Any] = {"run": i, "folded": len(tested) > figures.FEW}
        found += [
            Section(f"What the Gaussian process sees{of}", GP_VIEW, seen, "tall", **mine),
            Section(f"How the tests vote{of}", VOTES, votes, **mine),
        ]
    return found
