"""The second quality suite: every kind trains, the same seed is the same training, and records add up."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from benchmarks.quality import records
from benchmarks.quality.kinds import data, finetune, held_out, runner, schedules, search, table, train
from benchmarks.quality.kinds.registry import KINDS

CHARACTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz \n"
SMALL, SMOOTH = KINDS["raw-thousands"], KINDS["smooth-regression"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sets of the right shape, of noise, and networks that are not trained."""
    path, random = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    for name, shape, classes in (
        (data.FASHION, (28, 28), 10),
        (data.CIFAR10, (32, 32, 3), 10),
        (data.CIFAR100, (32, 32, 3), 100),
    ):
        sets = {}
        for part, count in (("train", 300), ("test", 256)):
            sets[f"x_{part}"] = random.integers(0, 256, (count, *shape), dtype=np.uint8)
            sets[f"y_{part}"] = np.arange(count, dtype=np.uint8) % classes
        np.savez(path / name, **sets)
    letters = random.choice(list(CHARACTERS), data.SPLIT + 4_000).tolist()
    text = "".join(letters)
    (path / data.TEXT).write_text(text, encoding="utf-8")
    (path / "kinds").mkdir()
    for file, task in (("cnn.pt", finetune.Cifar10(0, path)), ("gpt.pt", finetune.Pretraining(0, path))):
        torch.save(task.model.state_dict(), path / "kinds" / file)
    return path


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_a_kind_trains_the_same_way_from_the_same_seed(kind, folder):
    first, again, other = kind.make(1, folder), kind.make(1, folder), kind.make(2, folder)
    loss = first.loss()
    loss.backward()
    trained = [each for each in first.model.parameters() if each.requires_grad]
    assert trained
    assert all(each.grad is not None for each in trained)
    assert any(each.grad.abs().sum() > 0 for each in trained)
    assert torch.isfinite(loss)
    assert loss == again.loss()
    assert first.loss() == again.loss()
    assert loss != other.loss()
    assert np.isfinite(first.score())
    assert first.score() == first.score()
    assert first.model.training
    assert np.isfinite(first.trivial())


@pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
def test_an_update_moves_what_is_trained_and_nothing_else(kind, folder):
    task = kind.make(1, folder)
    before = {name: each.clone() for name, each in task.model.named_parameters()}
    schedules.update(task, task.optimizers(1e-3))
    for name, each in task.model.named_parameters():
        if not each.requires_grad:
            assert torch.equal(each, before[name])
    assert any(not torch.equal(each, before[name]) for name, each in task.model.named_parameters())


def test_a_third_is_held_out_and_every_kind_is_named():
    assert KINDS.keys() == held_out.HELD_OUT | held_out.LOOKED_AT
    assert not held_out.HELD_OUT & held_out.LOOKED_AT
    assert len(held_out.HELD_OUT) * 3 == len(KINDS) - 2  # two came later, when a run of theirs had failed
    assert sum(kind.long for kind in KINDS.values()) == 4


@pytest.mark.parametrize("method", ["autowu", "fixed 1e-2", "lr-finder", *schedules.PEERS])
def test_a_method_trains_and_its_record_is_json(method, tmp_path):
    record = train.run(replace(SMOOTH, total_steps=300), method, 0, tmp_path)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["finite"]
    assert record["train_loss"] < record["first_loss"]
    assert (record["trivial"], record["seed"], record["kind"]) == (0.0, 0, SMOOTH.name)


def test_an_unknown_method_is_refused_with_those_there_are(tmp_path):
    with pytest.raises(ValueError, match=r"method must be autowu, fixed PEAK, lr-finder, .*, not 'best'"):
        train.run(SMALL, "best", 0, tmp_path)


def test_a_fixed_peak_is_reached_after_five_percent_and_falls_to_zero():
    fixed = schedules.driven("fixed 0.5", SMALL.make(0, None), 200, {})
    lrs = []
    for _ in range(200):
        lrs.append(fixed.optimizers[0].param_groups[0]["lr"])
        fixed.optimizers[0].step()
        fixed.step(torch.tensor(1.0))
    assert lrs[0] == pytest.approx(0.05)
    assert lrs[9] == max(lrs) == pytest.approx(0.5)
    assert lrs[105] == pytest.approx(0.25)
    assert 0 < lrs[-1] < 0.01


def test_a_trial_has_a_peak_a_warm_up_and_a_weight_decay_of_its_own():
    task = SMOOTH.make(0, None)
    decay = task.weight_decay
    driver = schedules.driven("trial 0.5 0.2 3", task, 200, {})
    (group,) = driver.optimizers[0].param_groups
    assert group["weight_decay"] == pytest.approx(3 * decay)
    assert group["lr"] == pytest.approx(0.5 / 40)
    names = [search.trial(kind, number) for kind in (SMOOTH, SMALL) for number in range(search.TRIALS)]
    assert len(set(names)) == 2 * search.TRIALS
    peaks = [float(name.split()[1]) / SMOOTH.centre for name in names[: search.TRIALS]]
    assert 0.055 < min(peaks) < max(peaks) < 18


def test_the_best_trial_is_tried_with_other_seeds(tmp_path, monkeypatch):
    kind, results, trials = (
        replace(SMALL, total_steps=20),
        tmp_path / "found.jsonl",
        tmp_path / "trials.jsonl",
    )
    scores = {search.trial(kind, number): float(number % 7) for number in range(search.TRIALS)}

    def run(wanted, _data, file, _processes):
        for job in wanted:
            score = scores[job.method] if job.label.startswith("trial") else 0.0
            record = {
                "kind": kind.name,
                "method": job.label,
                "seed": job.seed,
                "score": score,
                "of": job.method,
            }
            records.add(file, record)

    monkeypatch.setattr(runner, "run", run)
    search.run([kind], tmp_path, results, trials, 1)
    assert len(list(records.lines(trials))) == search.TRIALS
    tuned = list(records.lines(results))
    assert [(each["method"], each["seed"]) for each in tuned] == [("tuned 10", 1), ("tuned 10", 2)]
    assert {each["of"] for each in tuned} == {search.trial(kind, 6)}


def test_a_range_test_puts_the_weights_back_and_stops_short_of_what_ruins_them():
    task = SMOOTH.make(0, None)
    before = {name: each.clone() for name, each in task.model.state_dict().items()}
    lr = schedules.steepest(*schedules.range_test(task))
    assert 1e-6 < lr < 1
    assert all(torch.equal(each, before[name]) for name, each in task.model.state_dict().items())


def test_a_run_that_diverges_has_a_record_and_counts_as_the_trivial_score(tmp_path):
    record = train.run(SMALL, "fixed 1", 0, tmp_path)
    assert (record["score"], record["finite"], record["train_loss"]) == (None, False, None)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert table.floored(record) == record["trivial"]
    assert table.floored({**record, "score": -3e9}) == record["trivial"]
    assert table.floored({**record, "score": 7.0}) == 7.0


def test_settings_reach_autowu(tmp_path):
    record = train.run(replace(SMOOTH, total_steps=200), "autowu", 0, tmp_path, {"max_lr": 2e-5})
    assert record["peak_lr"] <= 2e-5


def test_what_is_done_is_not_done_again(tmp_path, monkeypatch):
    short = replace(SMALL, total_steps=20)
    results = tmp_path / "records.jsonl"
    wanted = list(runner.jobs([short], ["fixed", "nadamw"], [0], {}, "autowu"))
    assert [job.label for job in wanted] == [*(f"fixed {peak:g}" for peak in SMALL.peaks), "nadamw"]
    results.write_text(
        "".join(
            json.dumps({"kind": SMALL.name, "method": job.label, "seed": 0, "score": 1.0}) + "\n"
            for job in wanted[1:]
        ),
        encoding="utf-8",
    )
    runner.run(wanted, tmp_path, results, 1)
    runner.run(wanted, tmp_path, results, 1)
    names = [json.loads(line)["method"] for line in results.read_text(encoding="utf-8").splitlines()]
    assert sorted(names) == sorted(job.label for job in wanted)


def test_the_table_compares_with_the_best_fixed_peak():
    def record(method, score, kind="lstm", trivial=-4.0):
        return {"kind": kind, "method": method, "seed": 0, "score": score, "trivial": trivial}

    fixed = [record("fixed 0.01", -2.0), record("fixed 0.1", -2.5), record("fixed 0.001", -3.0)]
    text = table.write([*fixed, record("autowu", -2.1), record("prodigy", None)])
    assert "| -3, **-2**, -2.5 | 0.01 | -2.1 (-5) |" in text
    assert "| lstm [loss] | -5.0 | -100.0 |" in text
    assert "| *mean, worst: % of the loss* | -5.0, -5.0 | -100.0, -100.0 |" in text
    assert "| *mean, worst: dB* | – | – |" in text
    assert "| *runs no better than a constant answer* | 0 of 1 | 1 of 1 |" in text
    points = [record("fixed 0.01", 80.0, "parity", 50.0), record("autowu", 78.5, "parity", 50.0)]
    assert "| **80** | 0.01 (edge) | 78.5 (-1.5) |" in table.write(points)


def test_a_difference_is_to_the_peak_of_the_same_seeds():
    def record(method, score, seed):
        return {"kind": "parity", "method": method, "seed": seed, "score": score, "trivial": 50.0}

    rows = [record("fixed 0.01", 80.0, 0), record("fixed 0.01", 90.0, 1), record("nadamw", 91.0, 1)]
    assert "| parity ◦ [%] | +1.0 |" in table.against(rows)
    assert "| parity ◦ [%] | – |" in table.against([*rows[:1], rows[2]])
