"""The quality suite's arithmetic: what the search consists of, what a trial is worth, what a kill leaves."""

from itertools import combinations

import numpy as np
import pytest
from benchmarks.quality import __main__ as command
from benchmarks.quality import (
    ablations,
    analysis,
    methods,
    page,
    pictures,
    plan,
    prepare,
    records,
    runner,
    search,
    suites,
    tables,
    tried,
)
from benchmarks.quality.budgets import plan as budgets
from benchmarks.quality.suites import SUITES
from benchmarks.quality.workloads import LONGEST, PILOT, WORKLOADS

from autowu import Config
from controller import helpers

CNN, GPT = WORKLOADS["cifar10-cnn-adamp"], WORKLOADS["shakespeare-gpt-adamw"]
LONG = WORKLOADS["shakespeare-gpt-adamw-long"]


def record(number, validation, test, *, workload=CNN.name, diverged=False):
    part = {"validation_accuracy": validation, "test_accuracy": test}
    return {"workload": workload, "method": f"trial {number}", "seed": 0, "diverged": diverged, **part}


def test_the_best_of_k_trials_is_the_mean_over_all_subsets():
    random = np.random.default_rng(0)
    trials = [record(i, random.random(), random.random()) for i in range(7)]
    expected = analysis.best_of(trials, range(1, 8))
    for k, value in expected.items():
        winners = [
            max(chosen, key=lambda trial: trial["validation_accuracy"]) for chosen in combinations(trials, k)
        ]
        assert value == pytest.approx(np.mean([100 * winner["test_accuracy"] for winner in winners]))


def test_a_score_is_worth_the_fewest_trials_that_reach_it():
    trials = [record(i, i / 10, i / 10) for i in range(5)]
    assert analysis.worth(trials, 40) == 5
    assert analysis.worth(trials, 20) == 1
    assert analysis.worth(trials, 41) is None


def test_the_search_goes_on_beyond_an_edge_only_while_the_best_is_there():
    first = search.trials(CNN, {})
    assert len(first) == search.TRIALS
    assert first == search.trials(CNN, {0: 1.0})
    middle = {trial.number: -abs(np.log(trial.lr / search.center(CNN))) for trial in first}
    assert search.trials(CNN, middle) == first


@pytest.mark.parametrize("sign", [1, -1])
def test_the_search_is_widened_beyond_the_edge_that_the_best_trial_lies_on(sign):
    scores = {trial.number: 0.0 for trial in search.trials(GPT, {})}
    extreme = max(search.trials(GPT, {}), key=lambda trial: sign * trial.lr)
    wider = search.trials(GPT, scores | {extreme.number: 1.0})
    ends = [search.center(GPT) * 10 ** (sign * decades) for decades in (search.DECADES, search.DECADES + 0.5)]
    from_edge = abs(np.log10(extreme.lr / ends[0])) / (2 * search.DECADES)
    assert from_edge < search.EDGE  # or else this workload shows nothing
    assert len(wider) == search.TRIALS + search.WIDENING
    assert all(min(ends) <= trial.lr <= max(ends) for trial in wider[search.TRIALS :])


def test_the_search_is_widened_while_the_best_trial_has_the_largest_lr_that_was_tried():
    """Within the range nothing may have been drawn above it."""
    first = search.trials(LONG, {})
    largest = max(trial.lr for trial in first)
    assert largest < search.center(LONG) * 10 ** (
        search.DECADES * (1 - 2 * search.EDGE)
    )  # not at the range's edge
    scores = {trial.number: trial.lr for trial in first}
    wider = search.trials(LONG, scores)
    assert len(wider) == search.TRIALS + search.WIDENING
    assert all(largest <= trial.lr <= largest * 10**0.5 for trial in wider[search.TRIALS :])
    within = sorted(wider[search.TRIALS :], key=lambda trial: trial.lr)[2]
    scores |= {trial.number: 0.0 for trial in wider[search.TRIALS :]} | {within.number: 1.0}
    assert search.trials(LONG, scores) == wider


def test_the_winners_are_chosen_by_validation_and_not_by_test():
    first = search.trials(CNN, {})
    central = min(first[5:], key=lambda trial: abs(np.log(trial.lr / search.center(CNN))))
    done = [record(i, validation=i / 100, test=1 - i / 100) for i in range(search.TRIALS)]
    done[central.number]["validation_accuracy"] = 0.9
    found = plan.winners(CNN, done)
    assert (found[1].number, found[5].number, found[20]) == (0, 4, central)


def test_each_gets_the_weight_decay_of_the_other_and_keeps_all_else(tmp_path):
    suite = SUITES["small"]
    central = min(search.trials(CNN, {}), key=lambda trial: abs(np.log(trial.lr / search.center(CNN))))
    for number in range(search.TRIALS):
        records.append(tmp_path, "search", record(number, 0.9 if number == central.number else 0.5, 0.5))
    jobs = {(job.method, job.seed): job.settings for job in plan.jobs("exchange", suite, [CNN], tmp_path)}
    assert len(jobs) == 2 * len(suite.seeds)
    ours, tuned = jobs[methods.AUTOWU, 100], jobs["tuned 20", 100]
    decay = {"weight_decay": central.weight_decay}
    assert ours == methods.settings(methods.AUTOWU, CNN) | decay
    assert tuned | decay == central.settings(CNN, CNN.total_steps)
    assert tuned["weight_decay"] is None


def test_points_take_five_percent_of_a_loss_for_one():
    assert analysis.points(CNN.name, 51.0, 50.0) == 1
    assert analysis.points(GPT.name, -1.9, -2.0) == pytest.approx(1)


def test_a_diverged_run_is_the_worst():
    assert records.score(record(0, 0.9, 0.9, diverged=True), "test") == -np.inf


def test_a_line_that_a_kill_cut_off_is_lost_and_spoils_no_other(tmp_path):
    records.append(tmp_path, "search", {"a": 1})
    with (tmp_path / "search.jsonl").open("a") as file:
        file.write('{"a": 2, "b"')
    assert records.read(tmp_path, "search") == [{"a": 1}]
    records.append(tmp_path, "search", {"a": 3})
    assert records.read(tmp_path, "search") == [{"a": 1}, {"a": 3}]


def test_the_data_of_a_text_end_in_validation_and_test():
    full = "".join(map(chr, range(33, 127))) * 7000
    text = prepare.text(GPT, full)
    assert text[: GPT.train] == full[: GPT.train]
    assert len(text) // 10 == GPT.validation + GPT.test
    assert full.endswith(text[GPT.train :])


def test_no_image_of_validation_is_learnt_from():
    count = CNN.train + CNN.validation + 100
    x = np.arange(count, dtype=np.uint16)[:, None, None].repeat(8, 1).repeat(8, 2)
    arrays = prepare.images(
        CNN, {"x_train": x, "y_train": x[:, 0, 0], "x_test": x + 30_000, "y_test": x[:, 0, 0] + 30_000}
    )
    assert arrays["x_train"].shape == (CNN.train, 2, 2)
    validation, test = np.split(arrays["y_test"], [CNN.validation])
    assert not set(validation) & set(arrays["y_train"])
    assert validation.max() < 30_000 <= test.min()


def test_pooling_takes_the_mean_of_each_square():
    images = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), dtype=np.uint8)
    assert prepare.pool(images, 4)[1, 0, 1, 2] == round(images[1, :4, 4:8, 2].mean())


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_method_has_settings_that_the_trainer_takes(name):
    from autowu.train.settings.options import Settings

    workload = WORKLOADS[name]
    for method in (methods.AUTOWU, "paper", *methods.peers(workload), *methods.ADVISED):
        chosen = methods.settings(method, workload)
        assert chosen.pop("advised", method) == method
        Settings(**chosen, data="x.txt" if workload.is_text else "x.npz")
    for variant in methods.VARIANTS:
        chosen = methods.variant(variant, workload)
        assert chosen.pop("tried", variant) == variant
        Settings(**chosen, data="x.txt" if workload.is_text else "x.npz")


def test_a_peak_is_held_against_the_fixed_ones_that_are_as_good_as_the_best():
    accuracies = {
        "0.001": (0.5, 0.52),
        "0.003": (0.796, 0.8),
        "0.01": (0.8, 0.8),
        "0.03": (0.7, 0.9),
        "0.1": (0.1, 0.1),
    }
    swept = [
        record(0, 0, accuracy) | {"method": lr, "seed": seed}
        for lr, pair in accuracies.items()
        for seed, accuracy in enumerate(pair)
    ]
    good = analysis.good_peaks(swept)
    assert good == {CNN.name: (0.003, 0.03)}
    runs = [record(0, 0, 0) | {"method": "autowu", "peak_lr": lr} for lr in (3e-5, 0.003, 0.02, 0.3, None)]
    ratios = analysis.peak_ratios(
        [*runs, record(0, 0, 0) | {"method": "paper", "peak_lr": 1.0}], "autowu", good
    )
    assert ratios == pytest.approx([-2, 0, 0, 1])
    assert analysis.peak_ratios(runs, "autowu", {}) == []


def test_the_tree_holds_no_records_that_no_part_of_a_study_reads():
    parts = {*plan.PARTS, *records.ABLATIONS, "halving", "population"}
    folders = {suite.results for suite in SUITES.values()} | {budgets.RESULTS}
    found = list(records.RESULTS.rglob("*.jsonl"))
    assert records.RESULTS / "compare.jsonl" in found
    assert [path for path in found if path.stem not in parts or path.parent not in folders] == []


def test_the_pilot_holds_long_runs_that_may_be_looked_at_and_is_not_in_the_comparison():
    pilot = SUITES["pilot"]
    assert len(pilot.workloads) == 6
    assert all(of.total_steps >= suites.LONG and not of.held_out for of in pilot.workloads.values())
    assert not PILOT.keys() & SUITES["small"].workloads.keys()
    jobs = plan.jobs("ablations", pilot, PILOT.values(), pilot.results)
    assert {job.workload for job in jobs} == set(PILOT)
    assert not {job.method for job in jobs} & set(ablations.SETTLED)
    assert not any(name in tables.workloads() for name in PILOT)
    assert "held out" not in tables.ablations(pilot).splitlines()[0]


def test_a_change_that_is_tried_is_there_while_its_run_lasts_and_no_longer():
    config = Config(total_steps=4000)
    with tried.applied("fast rate fixed per update"):
        assert Config(total_steps=4000).sweep_steps == Config(total_steps=400).sweep_steps == 40
    assert config.sweep_steps == 78


def test_every_change_that_is_tried_makes_another_run():
    """The average of the weights is the trainer's alone: it changes no LR but with the constant one."""
    config = Config(total_steps=4000)
    plain = outcome(config)
    assert plain == outcome(config)
    for change in tried.CHANGES:
        with tried.applied(change):
            other = outcome(config)
        assert (other == plain) == (change == "average of the weights"), change
    assert plain == outcome(config)
    assert set(ablations.TRIED) == {*tried.CHANGES, *ablations.SETTLED}


def outcome(config):
    """The LR of every update, and the snapshots, of a run with a minimum."""
    states, lrs = helpers.watched(config, helpers.noisy(0.02))
    return lrs.tolist(), [state.snapshot_step for state in states]


def test_the_longest_runs_are_apart():
    longest = SUITES["longest"].workloads
    assert [workload.total_steps for workload in longest.values()] == [19_800, 19_800, 10_000]
    assert not longest.keys() & (SUITES["small"].workloads | PILOT).keys()
    jobs = plan.jobs("compare", SUITES["longest"], longest.values(), SUITES["longest"].results)
    assert {job.seed for job in jobs} == {100, 101, 102, 103, 104}


def test_other_lengths_of_a_task_have_its_data_and_beyond_its_own_length_its_search():
    suite = SUITES["lengths"]
    assert [of.total_steps for of in suite.workloads.values()] == [500] * 3 + [2_000] * 3 + [100_000] * 3
    assert {of.file for of in suite.workloads.values()} == {of.file for of in LONGEST.values()}
    for workload in suite.workloads.values():
        trials = list(plan.searching(suite, [workload], []))
        assert len(trials) == (0 if workload.total_steps == 100_000 else 8)
    longer = suite.workloads["fashion-mlp-sgd-100000"]
    of_20000 = records.read(SUITES["longest"].results, "search")
    best = plan.winners(LONGEST["fashion-mlp-sgd-longest"], of_20000, 8)[8]
    tuned = {job.method: job.settings for job in plan.comparing(suite, [longer], [])}["tuned 8"]
    assert tuned["weight_decay"] == best.weight_decay
    assert tuned["warmup_steps"] == round(best.warmup * 100_000)
    assert tuned["steps"] == 100_000


def test_a_run_of_any_length_counts_towards_the_mean_of_that_length(monkeypatch):
    def found(folder, part):
        return [
            {"workload": name, "method": method, "seed": seed, "test_accuracy": 0.8 + 0.01 * ours}
            | {"steps": 500, "test_loss": 2.0, "diverged": False, "switch_step": 50}
            for name in ("fashion-mlp-sgd-500", "cifar10-cnn-adamp-500", "shakespeare-gpt-adamw-500")
            for seed in range(2)
            for method, ours in (("autowu", 1), ("lr-finder", 0))
            if folder.name == "lengths"
        ]

    monkeypatch.setattr(records, "read", found)
    first, *_, mean = [line.split(" | ") for line in tables.lengths().splitlines()[2:6]]
    assert first[:2] == ["| fashion mlp sgd", "500"]
    assert first[3:7] == ["2", "10.0%", "–", "+1.00 (+1.00 to +1.00)"]
    assert mean[5:7] == ["–", "**+0.67**"]


@pytest.mark.parametrize("name", page.PAGES)
def test_a_page_has_the_tables_of_the_records(name):
    text = (page.DOCS / name).read_text(encoding="utf-8")
    assert page.filled(name, text) == text


def test_a_page_without_a_place_for_its_table_is_refused_by_name():
    with pytest.raises(SystemExit, match=r"quality-large.md has 0 places for the table 'large'"):
        page.filled("quality-large.md", "# Larger models\n")


def test_the_picture_of_the_comparison_has_a_row_for_each_method_run_everywhere():
    axis = pictures.comparison().axes[0]
    labels = [label.get_text() for label in axis.get_yticklabels()]
    scores = analysis.by_workload(records.read(records.RESULTS, "compare"))
    assert set(labels) == set(analysis.everywhere(scores))
    assert labels[0] == methods.REFERENCE
    assert methods.AUTOWU in labels
    assert "salsa" not in labels


@pytest.mark.parametrize("stopped_at", [None, "compare"])
def test_one_command_runs_all_parts_and_writes_the_pages(monkeypatch, tmp_path, stopped_at):
    done = []

    def run(part, *_):
        done.append(part)
        return 3 if part == stopped_at else 0

    monkeypatch.setattr("sys.argv", ["benchmarks.quality", "run", "all", "--data", str(tmp_path)])
    monkeypatch.setattr(runner, "run", run)
    monkeypatch.setattr(prepare, "prepare", lambda *_: done.append("prepare"))
    monkeypatch.setattr(page, "write", lambda: done.append("pages"))
    if stopped_at is None:
        command.main()
        assert done == ["prepare", "search", "compare", "ablations", "sweep", "exchange", "pages"]
    else:
        with pytest.raises(SystemExit, match="3 runs of compare are left: the same command goes on"):
            command.main()
        assert done == ["prepare", "search", "compare"]
