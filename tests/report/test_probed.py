"""A probe beyond a minimum, wherever a run is shown: one that found a lower loss, and one that did not."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("plotly")
pytest.importorskip("torch")

from autowu import replay
from autowu.controller import display, history
from autowu.controller.state import Probe, Reason, Reopening, Switch
from autowu.offline import text as replay_text
from autowu.offline.logs import Record
from autowu.offline.strided import replay_record
from autowu.report import figures, summary, tensorboard
from autowu.runlog import run as runlog
from autowu.runlog.run import Run
from report import simulated


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return runlog.read(simulated.probed(tmp_path_factory.mktemp("run") / "probed"))


def both(run: Run) -> tuple[Reopening, Switch]:
    (reopening,), switch = run.reopenings, run.switch
    assert switch is not None
    assert switch.probed is not None
    assert reopening.switch.step < reopening.step < switch.probed < switch.step
    assert reopening.probed
    return reopening, switch


def test_the_log_gives_back_what_happened(run: Run) -> None:
    core = replay(run.losses).state
    assert run.reopenings == core.reopenings
    assert run.switch == core.switch
    assert both(run)[1].peak_lr == pytest.approx(0.1, rel=0.3)


def test_it_is_all_one_warm_up(run: Run) -> None:
    _, switch = both(run)
    assert run.warmups == [(0, switch.step)]
    shapes = figures.learning_rate_and_loss([run])["layout"]["shapes"]
    assert [(each["x0"], each["x1"]) for each in shapes if each["type"] == "rect"] == run.warmups
    records = list(tensorboard.records(run))
    phases = [each["phase"] for each in records if each["event"] == "step"]
    assert phases == ["warmup"] * switch.step + ["decay"] * (2000 - switch.step)
    assert [each["step"] for each in records if each["event"] == "switch"] == [switch.step]


def test_words_tell_of_both(run: Run) -> None:
    reopening, switch = both(run)
    notes = figures.learning_rate_and_loss([run])["layout"]["annotations"]
    words = f"a lower loss beyond the minimum at step {reopening.switch.step}; warm-up goes on at step "
    assert any(str(note.get("text", "")).startswith(words) for note in notes)
    words = summary.sentence(run)
    assert words.startswith(
        f"The minimum seen at step {reopening.switch.step} was not the last, since the loss"
    )
    assert f"and, from step {switch.probed} on, larger learning rates had brought no lower loss" in words
    found = replay(run.losses)
    words = replay_text.decision(Record(run.losses, None), found)
    assert words.startswith(f"The minimum detected at step {reopening.switch.step} was not the last")
    assert f"(3 tests in a row), and from step {switch.probed} on no lower loss beyond it" in words
    assert found.to_json()["reopenings"][0]["probed"] is True
    html = display.html("a", found.config, found.state, len(run.losses))
    assert "minima that were not the last" in html
    assert "false alarms" not in html


def test_a_record_that_ends_in_a_probe_says_so(run: Run) -> None:
    _, switch = both(run)
    losses = run.losses[: switch.step - 3]
    words = replay_text.decision(Record(losses, None), replay(losses, 2000))
    assert (
        "larger learning rates were tried for a lower one; without one, the decay would have begun." in words
    )


def test_a_record_of_every_third_update_is_told_in_updates(run: Run) -> None:
    record = Record(run.losses, None, 3, ())
    found = replay_record(record)
    plain = replay(run.losses).state
    assert found.state.switch is not None
    assert plain.switch is not None
    assert plain.switch.probed is not None
    assert found.state.switch.probed == 3 * plain.switch.probed


def test_a_log_from_before_there_were_probes_can_be_read(run: Run, tmp_path: Path) -> None:
    folder = simulated.reopened(tmp_path / "old")
    log = (folder / "log.jsonl").read_text()
    (folder / "log.jsonl").write_text(re.sub(', "probed": (null|false|[0-9]+)', "", log))
    assert "probed" not in (folder / "log.jsonl").read_text()
    old = runlog.read(folder)
    assert not old.notes
    assert old.switch is not None
    assert old.switch.probed is None
    assert not old.reopenings[0].probed


def test_a_loss_that_ceased_to_be_finite_is_no_minimum_that_tests_agreed_on(run: Run) -> None:
    _, switch = both(run)
    alone = replace(run, reopenings=(), switch=replace(switch, probed=None))
    gone, once = run.losses.copy(), run.losses.copy()
    since = run.tests[-4].step  # the last three tests saw nothing since
    gone[since : switch.step] = once[switch.step - 1] = np.nan
    dead = replace(switch, probed=None, reason=Reason.NONFINITE, reads=3)
    words = summary.sentence(replace(alone, switch=dead, losses=gone))
    assert words.startswith(
        f"At step {switch.step} no loss had been finite since step {since}: training went"
    )
    assert "tests" not in words
    assert "when enough tests had agreed" in summary.sentence(replace(alone, losses=once))


def test_a_record_of_every_tenth_update_may_end_in_a_probe(run: Run) -> None:
    _, switch = both(run)
    plain = replay(run.losses[: switch.step - 3], 2000)
    found = replay_record(Record(run.losses[: switch.step - 3], None, 10, ()), total_steps=20_000)
    assert isinstance(found.state.phase, Probe)
    assert isinstance(plain.state.phase, Probe)
    assert found.state.phase.switch.step == 10 * plain.state.phase.switch.step
    steps = np.arange(0, len(found.learning_rates), 10, dtype=float)
    shown = history.learning_rates(found.config, found.state, steps)
    np.testing.assert_allclose(shown, plain.learning_rates[: len(shown)], rtol=0.02)
