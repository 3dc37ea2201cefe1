"""What the comparison claims: paired points, two-level intervals, Holm's correction, performance profiles."""

import math

import numpy as np
import pytest
from benchmarks.quality import methods
from benchmarks.quality.evidence import bootstrap, figure, pairs, profiles, table
from benchmarks.quality.evidence.pairs import Task
from scipy import stats


def task(name="a", unit="%", held_out=False, suite="first", **scores):
    return Task(name, suite, held_out, unit, {of: dict(enumerate(each)) for of, each in scores.items()})


def test_a_point_is_one_of_accuracy_or_five_percent_of_a_loss_and_has_no_reference():
    assert task().better(81.0, 80.0) == 1.0
    loss = task(unit="loss")
    assert loss.better(-2.0, -2.0 * math.exp(0.05)) == pytest.approx(1.0)
    assert loss.better(-1.0, -3.0) == -loss.better(-3.0, -1.0)
    assert task(unit="dB").better(30.0, 28.0) == 2.0


def test_differences_are_of_the_seeds_that_both_have():
    mine = Task(
        "a", "first", False, "%", {"autowu": {1: 80.0, 2: 81.0, 3: 90.0}, "other": {3: 88.0, 2: 81.5}}
    )
    assert mine.differences("autowu", "other").tolist() == [-0.5, 2.0]
    assert mine.differences("autowu", "none").tolist() == []


def test_a_run_that_diverged_counts_as_a_guess():
    def run(workload, method, **rest):
        return {"workload": workload, "method": method, "seed": 0, "diverged": False, **rest}

    tasks = pairs.first_suite(
        [
            run("cifar100-cnn-lamb", "autowu", test_accuracy=0.2),
            run("cifar100-cnn-lamb", "other") | {"diverged": True},
            run("shakespeare-gpt-lamb", "autowu", test_loss=2.5),
            run("shakespeare-gpt-lamb", "other", error="NaN"),
            run("fashion-mlp-sgd-longest", "autowu", test_accuracy=0.9),  # of another suite
        ]
    )
    assert [each.name for each in tasks] == ["shakespeare-gpt-lamb", "cifar100-cnn-lamb"]
    assert tasks[1].differences("autowu", "other").tolist() == [19.0]
    assert tasks[0].scores["other"][0] == -math.log(65)


def test_the_kinds_count_a_constant_answer_as_the_least_and_have_a_best_fixed_peak():
    def run(method, score, seed=0):
        return {"kind": "lstm", "method": method, "seed": seed, "score": score, "trivial": -4.0}

    runs = [run("fixed 0.1", -2.0), run("fixed 1", -3.0), run("fixed 0.1", -2.2, 1), run("autowu", None)]
    (found,) = pairs.kinds_suite(runs)
    assert found.scores == {pairs.BEST_FIXED: {0: -2.0, 1: -2.2}, "autowu": {0: -4.0}}


def test_with_one_seed_each_the_replicates_are_scipys():
    values = np.random.default_rng(1).normal(1.0, 2.0, 12)
    ours = np.quantile(bootstrap.replicates([np.array([v]) for v in values], 40_000), [0.025, 0.5, 0.975])
    kind = {"n_resamples": 40_000, "method": "percentile", "rng": np.random.default_rng(2)}
    theirs = stats.bootstrap((values,), np.mean, **kind).bootstrap_distribution
    assert ours == pytest.approx(np.quantile(theirs, [0.025, 0.5, 0.975]), abs=0.03)


def test_the_variance_of_the_replicates_is_that_of_both_levels():
    random = np.random.default_rng(3)
    groups = [random.normal(random.normal(), 1.0, n) for n in (1, 2, 5, 3, 2, 4, 5, 2)]
    means = np.array([group.mean() for group in groups])
    within = np.mean([group.var() / len(group) for group in groups])
    drawn = bootstrap.replicates(groups, 100_000)
    assert drawn.mean() == pytest.approx(means.mean(), abs=0.01)
    assert drawn.var() == pytest.approx((means.var() + within) / len(groups), rel=0.02)


def test_an_interval_of_few_workloads_covers_as_often_as_it_says():
    random, covered, ps = np.random.default_rng(4), [], []
    for _ in range(600):
        found = bootstrap.difference([random.normal(0.0, 1.0, 1) for _ in range(9)], 1000)
        covered.append(found.low <= 0 <= found.high)
        ps.append(found.p)
    assert 0.93 <= np.mean(covered) <= 0.975
    assert abs((np.array(ps) < 0.05).sum() - (~np.array(covered)).sum()) <= 6  # but for interpolation


def test_with_one_seed_each_p_is_near_that_of_students_test():
    values = np.random.default_rng(5).normal(0.6, 1.0, 12)
    found = bootstrap.difference([np.array([v]) for v in values], 200_000)
    assert found.p == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, rel=0.25)
    assert bootstrap.difference([np.array([1.0])] * 9, bootstrap.PRECISE).p == pytest.approx(0.003, abs=5e-4)


def test_what_cannot_be_resampled_has_no_interval():
    found = bootstrap.difference([np.array([1.0]), np.array([3.0, 5.0]), np.array([])])
    assert (found.mean, found.low, found.high, found.p, found.workloads) == (2.5, -np.inf, np.inf, 1.0, 2)
    assert bootstrap.difference([np.array([])]) is None


def test_holms_correction_is_the_textbooks():
    assert bootstrap.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert bootstrap.holm([0.6, 0.5]) == [1.0, 1.0]
    assert bootstrap.holm([]) == []


def test_a_profile_is_the_share_of_workloads_within_so_many_points_of_the_best():
    tasks = [
        task(autowu=[80.0, 82.0], other=[83.0]),
        task(autowu=[50.0], other=[45.0]),
        task(unit="loss", autowu=[-2.0]),
    ]
    found = profiles.shortfalls(tasks, ["autowu", "other"])
    assert found["autowu"].tolist() == [2.0, 0.0, 0.0]
    assert found["other"].tolist() == [0.0, 5.0, math.inf]
    assert profiles.share(found["other"], np.array([0.0, 5.0, 1e9])) == pytest.approx([1 / 3, 2 / 3, 2 / 3])


def test_the_time_to_a_target_counts_the_updates_of_a_search_and_the_first_to_reach_it():
    name = "cifar10-cnn-adamp"  # 320 updates

    def run(method, *curve, steps=320, seed=0):
        last = {"validation_accuracy": curve[-1] / 100, "diverged": False, "steps": steps}
        points = [[steps * (i + 1) // len(curve), value] for i, value in enumerate(curve)]
        return {"workload": name, "method": method, "seed": seed, "curve": points, **last}

    runs = [
        run("tuned 5", 10.0, 20.0, 30.0, 50.0),
        run("autowu", 10.0, 49.6),
        run("autowu", 49.5, 49.6, seed=1),
        run("lr-finder", 10.0, 60.0, steps=220),
        run("never", 10.0, 49.4),
    ]
    assert profiles.target(name, runs) == 49.5
    assert profiles.target("digits-cnn-adamw", runs) is None
    found = profiles.times(runs)
    assert found == {name: {"tuned 5": 320, "autowu": 240, "lr-finder": 320, "never": math.inf}}
    ratios = profiles.slowdowns(found)
    assert [ratios[of].tolist() for of in ("autowu", "lr-finder", "never")] == [
        [1.0],
        [320 / 240],
        [math.inf],
    ]


def test_the_table_pools_what_is_held_out_and_leaves_decibels_out(monkeypatch):
    tasks = [task(str(i), held_out=True, autowu=[50.0 + i], other=[49.0]) for i in range(6)]
    tasks += [task("looked", autowu=[40.0], other=[49.0]), task("dB", "dB", True, autowu=[0.0], other=[99.0])]
    monkeypatch.setattr(pairs, "all_tasks", lambda: tasks)
    head, _, row, *advised = table.claim().splitlines()
    assert advised == [f"| {name} | – | – | – | – | – |" for name in methods.ADVISED]
    assert head == "| AutoWU against | held out | p | ahead, level, behind | looked at | all |"
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[0] == "other"
    assert cells[1].startswith("+3.50 (+")
    assert cells[1].endswith("; 6)")
    assert float(cells[2]) < 0.05
    assert cells[3:5] == ["6, 0, 0", "-9.00 (1)"]
    assert "-99.00 (1)" in table.by_suite()
    assert "| tuned 5 | – | – | – | – | – |" in table.searches()


def test_the_figure_has_a_curve_a_method_and_autowu_first():
    tasks = [task(str(i), autowu=[80.0], other=[80.0 - i], rare=[90.0] if i == 0 else []) for i in range(4)]
    for each in tasks[1:]:
        del each.scores["rare"]
    axis = figure.profile(tasks).axes[0]
    labels = [line.get_label() for line in axis.lines]
    assert labels == ["autowu", "other"]
    assert axis.lines[1].get_ydata()[[0, -1]].tolist() == [25.0, 100.0]
