"""results.jsonl: what is read, what is refused, and that nothing is half-written."""

import json
import math
from concurrent.futures import ThreadPoolExecutor

import pytest

from autowu.errors import UserError
from autowu.reproduce import results
from autowu.reproduce.cells import BASELINE, COS, Cell
from autowu.reproduce.scales import TINY
from reproduce import made_up
from reproduce.made_up import COMMIT

JOB = made_up.job(Cell("cifar10-resnet18", 256, COS), TINY)
RESULT = made_up.finished(JOB, 90.0)


def write(folder, *lines):
    (folder / "results.jsonl").write_text("".join(lines), encoding="utf-8")


def test_what_is_appended_is_read(tmp_path):
    other = made_up.finished(made_up.job(Cell("cifar10-resnet18", 256, BASELINE), TINY), 80.0, peak=None)
    assert results.read(tmp_path, "tiny", COMMIT) == []
    for result in (RESULT, other):
        results.append(tmp_path, result)
    assert results.read(tmp_path, "tiny", COMMIT) == [RESULT, other]
    assert [RESULT.accuracy, RESULT.peak_lr, other.peak_lr] == [90.0, 0.01, None]


def test_of_two_lines_of_a_cell_the_later_one_counts(tmp_path):
    again = made_up.finished(JOB, 91.0)
    write(tmp_path, made_up.line(RESULT), made_up.line(again))
    assert results.read(tmp_path, "tiny", COMMIT) == [again]


def test_many_at_once_leave_whole_lines(tmp_path):
    with ThreadPoolExecutor(8) as pool:
        jobs = [made_up.job(Cell("cifar10-resnet18", 256, COS, seed), TINY) for seed in range(40)]
        list(pool.map(lambda job: results.append(tmp_path, made_up.finished(job, 50.0)), jobs))
    assert {each.key for each in results.read(tmp_path, "tiny", COMMIT)} == {job.key for job in jobs}


def damaged(**changes):
    entry = json.loads(made_up.line(RESULT)) | changes
    return json.dumps({name: value for name, value in entry.items() if value is not None}) + "\n"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{nothing\n", "it is not JSON"),
        ("\n", "it is not JSON"),
        ("[1, 2]\n", "it is not an object"),
        (made_up.line(RESULT)[:-1], "it is cut off"),
        (made_up.line(RESULT)[:-20], "it is not JSON"),
        (damaged(cell=None), "it has no cell"),
        (damaged(seconds="long"), "its seconds is no float"),
        (damaged(metrics={}), r"its test_accuracy is not in \[0, 1\]"),
        (damaged(metrics={"test_accuracy": 94.0}), r"its test_accuracy is not in \[0, 1\]"),
        (damaged(metrics={"test_accuracy": "high"}), r"its test_accuracy is not in \[0, 1\]"),
        (damaged(metrics={"test_accuracy": True}), r"its test_accuracy is not in \[0, 1\]"),
        (damaged(metrics={"test_accuracy": 0.5, "peak_lr": "x"}), "its peak_lr is no number above 0"),
        (damaged(metrics={"test_accuracy": 0.5, "peak_lr": math.nan}), "its peak_lr is no number above 0"),
        (damaged(metrics={"test_accuracy": 0.5, "peak_lr": -1}), "its peak_lr is no number above 0"),
        (damaged(seconds=math.inf), "its seconds are not finite"),
        (damaged(seconds=10**400), "its seconds are not finite"),
        (damaged(seconds=-1.0), "its seconds are below 0"),
        (damaged(metrics={"test_accuracy": 10**400}), r"its test_accuracy is not in \[0, 1\]"),
        (damaged(metrics={"test_accuracy": 0.5, "peak_lr": 10**400}), "its peak_lr is no number above 0"),
    ],
)
def test_a_damaged_line_is_named(tmp_path, line, told):
    write(tmp_path, made_up.line(RESULT), line)
    with pytest.raises(UserError, match=rf"results.jsonl, line 2 is damaged \({told}\): remove it"):
        results.read(tmp_path, "tiny", None)


def test_a_line_of_another_commit_is_named_and_taken_if_asked_for(tmp_path):
    foreign = made_up.finished(
        made_up.job(Cell("cifar10-resnet18", 256, BASELINE), TINY), 80.0, commit="fedcba"
    )
    write(tmp_path, made_up.line(RESULT), made_up.line(foreign))
    with pytest.raises(
        UserError, match=r"line 2 is of the commit fedcba, and this is 0123456789ab: --any-co"
    ):
        results.read(tmp_path, "tiny", COMMIT)
    assert results.read(tmp_path, "tiny", None) == [RESULT, foreign]
    assert results.commits([RESULT, foreign]) == [COMMIT, "fedcba"]


def test_a_line_of_another_scale_is_never_taken(tmp_path):
    write(tmp_path, made_up.line(RESULT))
    with pytest.raises(UserError, match=r"line 1 is of the scale 'tiny', not 'mini'"):
        results.read(tmp_path, "mini", None)


def test_what_cannot_be_written_is_named(tmp_path):
    (tmp_path / "results.jsonl").mkdir()
    with pytest.raises(UserError, match=r"cannot write .*results.jsonl: Is a directory"):
        results.append(tmp_path, RESULT)
    with pytest.raises(UserError, match=r"cannot read .*results.jsonl"):
        results.read(tmp_path, "tiny", None)
