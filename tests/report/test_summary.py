"""A run's decision in words: each way in which warm-up can end is told by its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from autowu.controller.state import Reason
from autowu.offline.arguments import Asked
from autowu.offline.decide import Decided
from autowu.offline.logs import Record
from autowu.report import replayed, summary
from autowu.runlog import run as runlog
from controller.endings import ENDINGS

FAILED = "No minimum of the loss was found: "
THE_GROWTH = f"{FAILED}the growth of the learning rate"
GROWTH = "The growth of the learning rate"
BACK = "training went back to the learning rate"
SAID = {
    "a minimum": "The loss was lowest near step 200, at the end of a flat part. At step 222, when enough "
    f"tests had agreed, {BACK} of step 195, its middle, 0.0287, and let it",
    "a minimum, paper": "The loss was lowest near step 100. At step 175, when enough tests had agreed, "
    f"{BACK} of that minimum, 0.00322, and",
    "a fall at its end": f"{FAILED}it was lowest near step 384, and had not plainly risen when growth "
    "reached its limit at step 397. Training went back to the learning rate of step 311, the middle of the",
    "two rises": f"{GROWTH} ended at step 277, since the loss had risen and never fallen; it fell from",
    "a rise, by the cap": f"{THE_GROWTH} reached its limit at step 500, since the loss had risen and never",
    "neither": f"{THE_GROWTH} reached its limit at step 451, without a fall of the loss; it fell from 0.1",
    "a fall to the cap": f"{FAILED}it was lowest near step 500, and had not plainly risen when growth "
    "reached its limit at step 500. Training went back to the learning rate of step 489, the middle of the",
    "a fall to the cap, bounded": f"{FAILED}it was lowest near step 398, and had not plainly risen when "
    "growth reached its limit at step 398. Training went back to the learning rate of step 390, the middle",
    "a fall to the cap, paper": f"{THE_GROWTH} reached its limit at step 200; it fell from 1 on.",
    "lift-off at the cap": f"{FAILED}at step 11 growth reached its limit before a test could tell where the "
    f"loss is lowest, and {BACK} of step 11, 0.00534, and let it decay",
    "dead": f"At step 291 no loss had been finite since step 260: {BACK} 0.045",
    "dead, paper": f"At step 175 no loss had been finite since step 90: {BACK} 0.00168",
    "dead before lift-off": f"{GROWTH} ended at step 38, since no loss was finite any more; it fell from",
    "never alive": f"{GROWTH} ended at step 23, since no loss was finite any more; it fell from 1e-05 on. "
    "At step 43 most losses were not finite, and the learning rate was cut to a third. At step 83 most",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_each_end_of_warm_up_is_told(name: str) -> None:
    record = Record(ENDINGS[name].losses, None)
    run = replayed.run_of(Decided("losses.csv", Asked(), record, ENDINGS[name].replay()))
    run = replace(run, config={"schedule": "autowu"}, replayed=False)
    assert SAID[name] in summary.sentence(run)
    told = summary.sentence(replace(run, replayed=True))
    assert told != summary.sentence(run)
    assert "would have" in told


def test_an_end_that_was_asked_for_is_no_minimum(autowu_run: Path) -> None:
    run = runlog.read(autowu_run)
    assert run.switch is not None
    asked = replace(run, switch=replace(run.switch, reason=Reason.ASKED))
    assert "By step 400, when the run was to end, no minimum of the loss had been found" in summary.sentence(
        asked
    )
    assert summary.COLUMNS["minimum"](asked) == "not found"
    nowhere = replace(run, switch=replace(run.switch, reason=Reason.ASKED, t_star=None))
    assert f"{GROWTH} ended at step 400, since the run was to end; it fell" in summary.sentence(nowhere)


def test_losses_that_are_not_finite_are_counted(autowu_run: Path, baseline_run: Path) -> None:
    one, none = runlog.read(autowu_run), runlog.read(baseline_run)
    assert summary.sentence(one).endswith(" 1 loss was not finite, and left out of the tests.")
    assert "not finite" not in summary.sentence(none)
    some = replace(none, losses=np.where(none.steps < 4, np.inf, none.losses))
    assert summary.sentence(some).endswith(" 3 losses were not finite.")


def test_a_column_of_which_no_run_knows_anything_is_left_out(autowu_run: Path, tmp_path: Path) -> None:
    known, other = runlog.read(autowu_run), runlog.read(autowu_run)
    other = replace(other, metrics={}, evaluations=(), config={})
    assert set(summary.columns([known])) == set(summary.COLUMNS)
    assert set(summary.COLUMNS) - set(summary.columns([other])) == {
        *("schedule", "optimizer", "test accuracy", "seconds"),
    }
    assert summary.columns([other, known])["optimizer"] == ["–", "adamp"]
