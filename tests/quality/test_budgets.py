"""Search at equal cost: what a study spends, how it goes on where it stopped, what AutoWU is worth."""

import math

import numpy as np
import pytest
from benchmarks.quality import __main__ as command
from benchmarks.quality import prepare, records
from benchmarks.quality.budgets import curve, halving, plan, population, space
from benchmarks.quality.budgets.plan import Study
from benchmarks.quality.evidence.pairs import Task
from benchmarks.quality.workloads import WORKLOADS

DIGITS = WORKLOADS["digits-cnn-adamw"]  # 300 updates


def pretended(workload, settings, seed, data, stop):
    """A run whose validation score is the closer to 90 at all times, the closer the LR is to 0.01."""
    top = 90 - 10 * abs(math.log10(settings["lr"] / 0.01))
    points = []
    for number in range(1, 21):
        points.append((workload.total_steps * number // 20, top * number / 20))
        if number < 20 and stop(number, points[-1][1]):
            break
    accuracy = points[-1][1] / 100
    return {
        "curve": points,
        "steps": points[-1][0],
        "validation_accuracy": accuracy,
        "test_accuracy": accuracy,
        "diverged": False,
    }


def test_trials_are_of_the_search_space_and_none_of_the_random_search():
    drawn = [space.drawn(DIGITS, study, number) for study in range(2) for number in range(50)]
    assert len({trial.lr for trial in drawn}) == 100
    assert min(trial.number for trial in drawn) == 1000
    middle = space.search.center(DIGITS)
    assert all(middle * 10**-1.25 <= trial.lr <= middle * 10**1.25 for trial in drawn)


@pytest.mark.parametrize("method", halving.METHODS)
def test_a_study_stops_what_is_behind_and_goes_on_where_it_was_stopped(method, tmp_path):
    pytest.importorskip("optuna", reason="Optuna is for these studies alone")

    def study(done, runs=6):
        return halving.study(DIGITS, method, 0, runs, tmp_path, done, pretended)

    whole = list(study([]))
    spent = np.cumsum([record["steps"] for record in whole])
    assert spent[-1] >= 1800 > spent[-2]
    assert {record["steps"] for record in whole} <= {30, 90, 270, 300}
    assert any(record["steps"] < 300 for record in whole)
    resumed = whole[:4]
    for _ in range(len(whole) - 4):
        resumed.append(next(study(resumed)))
    assert resumed == whole
    assert list(study(whole)) == []


def test_a_population_has_its_worst_go_on_from_its_best():
    random = np.random.default_rng(0)
    assert population.exchanged([1.0], random) == []
    assert population.exchanged([1.0, 2.0], random) == [(0, 1)]
    scores = [float(score) for score in range(20)]
    found = population.exchanged(scores, random)
    assert [loser for loser, _ in found] == [0, 1, 2, 3]
    assert {winner for _, winner in found} <= {16, 17, 18, 19}


@pytest.mark.full
def test_a_population_trains_and_what_is_copied_is_the_best_ones(tmp_path, monkeypatch):
    prepare.prepare(tmp_path, [DIGITS])
    copies = []
    plain = population.copy_into

    def watched(loser, winner, random):
        plain(loser, winner, random)
        theirs, mine = winner.model.state_dict(), loser.model.state_dict()
        assert all((mine[name] == theirs[name]).all() for name in theirs)
        lrs = [run.optimizer.param_groups[0]["lr"] for run in (loser, winner)]
        copies.append(lrs[0] / lrs[1])

    monkeypatch.setattr(population, "copy_into", watched)
    record = population.study(DIGITS, 2, 0, tmp_path)
    assert len(copies) == 9
    assert set(np.round(copies, 6)) == {0.8, 1.2}
    assert (record["method"], record["steps"]) == ("pbt 2", 600)
    assert record["test_accuracy"] > 0.9


def test_what_a_study_has_chosen_is_the_best_that_ended_in_time():
    def trial(steps, validation, test):
        scores = {"validation_accuracy": validation, "test_accuracy": test}
        return {"workload": DIGITS.name, "steps": steps, "diverged": False, **scores}

    trials = [trial(300, 0.8, 0.7), trial(30, 0.99, 0.99), trial(300, 0.9, 0.6), trial(300, 0.95, 0.5)]
    assert curve.incumbent(DIGITS, trials, 0.9) is None
    assert curve.incumbent(DIGITS, trials, 1) == pytest.approx(70)
    assert curve.incumbent(DIGITS, trials, 2) == pytest.approx(70)
    assert curve.incumbent(DIGITS, trials, 2.1) == pytest.approx(60)
    assert curve.incumbent(DIGITS, trials, 20) == pytest.approx(50)


def test_autowu_is_worth_the_budget_at_which_a_search_is_level():
    assert curve.reached({1: -4.0, 2: -1.0, 5: 1.0}) == pytest.approx(math.sqrt(10))
    assert curve.reached({1: 0.5, 2: 1.0}) == 1
    assert curve.reached({1: -2.0, 20: -1.0}) == math.inf
    assert curve.reached({}) is None
    assert curve.worth({1: -1.0, 5: 0.0}, 1.25) == "4.0"
    assert curve.worth({1: -2.0, 20: -1.0}, 1.0) == "> 20"
    assert curve.overhead([{"method": "autowu", "scheduling": 1.0, "seconds": 11.0}]) == pytest.approx(0.1)


def test_a_budget_counts_once_all_studies_have_spent_it(tmp_path, monkeypatch):
    def trial(number, study, method="asha", steps=300):
        scores = {"validation_accuracy": 0.5, "test_accuracy": 0.4 + 0.1 * study}
        return {
            "workload": DIGITS.name,
            "method": method,
            "seed": study,
            "steps": steps,
            "diverged": False,
        } | scores

    found = [trial(0, 0), trial(1, 0), trial(0, 1), trial(0, 3, "pbt 5", 1500)]
    known = curve.curves(DIGITS, [], found)
    assert known["asha"] == {1: pytest.approx(45)}
    assert (known["hyperband"], known["pbt"]) == ({}, {5: pytest.approx(70)})
    task = Task(DIGITS.name, "first", False, "%", {"autowu": {0: 60.0}})
    monkeypatch.setattr(curve, "CHOSEN", (DIGITS.name,))
    monkeypatch.setattr(plan, "read", lambda: found)
    ahead = curve.pooled(curve.behind([task]))
    assert ahead["asha"] == {1: pytest.approx(-15)}
    assert ahead["pbt"] == {5: pytest.approx(10)}


def test_what_is_left_is_told_before_it_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(plan, "seconds", lambda workload: 6.0)
    done = {"workload": DIGITS.name, "method": "asha", "seed": 0, "steps": 450}
    records.append(tmp_path, "halving", done)
    args = [
        "budgets",
        "--data",
        str(tmp_path),
        "--only",
        DIGITS.name,
        "--methods",
        "asha",
        "pbt",
        "--runs",
        "5",
    ]
    args += ["--studies", "1", "--results", str(tmp_path), "--dry-run"]
    monkeypatch.setattr("sys.argv", ["benchmarks.quality", *args])
    command.main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{DIGITS.name}, asha, study 0: 3.5 runs, 0.3 min"
    assert [line.split(",")[1] for line in lines[1:4]] == [" pbt 1", " pbt 2", " pbt 5"]
    assert lines[-1] == "together 1 minutes on one core"
    assert Study(DIGITS.name, "asha", 0, 1).left([done]) == 0


def test_a_mean_over_some_of_the_workloads_says_how_many():
    assert curve._cell([], 3) == "–"
    assert curve._cell([1.0, -2.0], 3) == "-0.50 (2)"
    assert curve._cell([1.0, -2.0], 2) == "-0.50"
