"""The sections of the page: each a heading, the words that explain it, and a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from autowu.report import decision, figures, speed, sweep_figure
from autowu.report.replayed import Replayed
from autowu.report.section import Section
from autowu.runlog.run import Run

CURVES: Final = """
AutoWU lets the learning rate grow (shaded), fast until the loss begins to fall, then from further back and
slowly (hence the notch), and finds out by itself when the loss has passed its minimum, or the flat part that
it ends in, whose middle is t*. It then goes back to the learning rate of t* and lowers it to zero, to a third
at once where the loss rises for good (a thin line), whereas a baseline follows a curve that somebody had to
choose.
"""
GP_VIEW: Final = """
The loss of one update is noise around a trend; a Gaussian process, a smoother that knows how sure it is,
draws the trend and a band of two standard deviations (sd) that holds it with 95% probability. Move the slider
through the tests: the window of losses grows (grey is out of its view), and the dotted line marks t*, where
the trend is lowest.
"""
VOTES: Final = """
At each test several random subsets of the losses say how probable it is that the loss has been lower than it
is now (P_min). Once most of them are above the confidence line in enough tests in a row (numbered triangles),
the growth of the learning rate ends.
"""
ACCURACY: Final = """
The share that the model gets right of what it has not seen in training: of test images, after each epoch (a
pass over the training data), or of the next characters of a text; the first evaluations may lie below the
picture. A learning rate that is too high shows as a dip, and the last gains come as the learning rate falls.
"""
SPEED: Final = """
Training images, or tokens of a text, a second, without the evaluations. AutoWU reads the losses only when a
test is due, some 30 times in a run, and a test takes about a millisecond.
"""


def sections(runs: Sequence[Run]) -> list[Section]:
    """The figures of the page, in the order in which they are read."""
    tested = [run for run in runs if run.tests]
    found = [
        sweep_figure.section(run.range_test, run.losses, run.name if len(runs) > 1 else None)
        for run in runs
        if isinstance(run, Replayed) and run.range_test is not None
    ]
    found += [Section("Learning rate and loss", CURVES, figures.learning_rate_and_loss(runs), "tall")]
    for run in tested:
        of = f": {run.name}" if len(tested) > 1 else ""
        found += [
            Section(
                f"What the Gaussian process sees{of}", GP_VIEW, decision.gp_view(run, len(tested)), "tall"
            ),
            Section(f"How the tests vote{of}", VOTES, decision.votes(run, len(tested))),
        ]
    if any(run.evaluations for run in runs):
        found.append(Section("Test accuracy", ACCURACY, figures.accuracy(runs)))
    if any(map(speed.measured, runs)):
        found.append(Section("Throughput", SPEED, speed.throughput(runs)))
    return found
