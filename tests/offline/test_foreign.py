"""Logs that others wrote: JSON, TensorBoard, Weights & Biases; gaps, strides, and what is refused."""

import csv
import json
import tracemalloc
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.offline.curves import v_shaped

import autowu
from autowu import cli
from autowu.errors import UserError
from autowu.offline import logs
from autowu.offline.logs import Choice
from autowu.offline.strided import replay_record

LOSSES = v_shaped(300)
ROWS = [{"step": i, "loss": float(loss), "lr": 1e-3} for i, loss in enumerate(LOSSES)]


def events(folder: Path, tag: str = "train/loss", every: int = 1, *, tensors: bool = False) -> Path:
    """TensorBoard's event files, as its own writer makes them."""
    pytest.importorskip("tensorboard")
    writer = import_module("tensorboard.summary.writer.event_file_writer").EventFileWriter(str(folder))
    event: Any = import_module("tensorboard.compat.proto.event_pb2").Event
    proto: Any = import_module("tensorboard.compat.proto.summary_pb2")
    tensor: Any = import_module("tensorboard.util.tensor_util").make_tensor_proto
    for i, loss in enumerate(LOSSES):
        value = {"tensor": tensor(np.float32(loss))} if tensors else {"simple_value": loss}
        summary = proto.Summary(value=[proto.Summary.Value(tag=tag, **value)])
        writer.add_event(event(step=i * every, summary=summary))
    writer.close()
    return folder


def test_json_lines(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    found = logs.read(str(file))
    np.testing.assert_array_equal(found.losses, LOSSES)
    assert found.lrs is not None
    assert set(found.lrs) == {1e-3}


FORMS: dict[str, Any] = {
    "rows": ROWS,
    "losses": LOSSES.tolist(),
    "columns": {"loss": LOSSES.tolist(), "lr": [1e-3] * 300},
    "pandas": {"loss": {str(i): loss for i, loss in enumerate(LOSSES)}},
    "W&B table": {"columns": ["_step", "train/loss"], "data": [[i, x] for i, x in enumerate(LOSSES)]},
    "W&B history": [
        {"_step": i, "_runtime": 0.1, "train_loss": x, "val_loss": 9} for i, x in enumerate(LOSSES)
    ],
    "HF trainer": {
        "log_history": [{"step": i + 1, "loss": x} for i, x in enumerate(LOSSES)] + [{"eval_loss": 9}]
    },
}


@pytest.mark.parametrize("form", FORMS)
def test_json(tmp_path: Path, form: str) -> None:
    file = tmp_path / "log.json"
    file.write_text(json.dumps(FORMS[form], indent=1))
    np.testing.assert_array_equal(logs.read(str(file)).losses, LOSSES)


def test_json_lines_take_little_more_room_than_their_numbers(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    row = '{{"event": "step", "step": {}, "loss": {:.17f}, "lr": 1.0000000000000e-05, "phase": "warmup"}}\n'
    file.write_text("".join(row.format(i + 1, 2 + i / 20_000) for i in range(20_000)))
    logs.read(str(file))  # whatever is made at the first time
    tracemalloc.start()
    found = logs.read(str(file))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(found.losses) == 20_000
    assert peak < 5 * file.stat().st_size  # more if each row has names of its own


def test_json_lines_that_are_cut_off_are_read_as_far_as_they_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS)[:-7])
    assert len(logs.read(str(file)).losses) == 299
    assert cli.main(["replay", str(file)]) == 0
    assert "(1 line is cut off and left out.)" in " ".join(capsys.readouterr().out.split())


def test_a_resumed_log_s_last_account_of_a_step_counts(tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"step": 0, "loss": 3}\n{"step": 1, "loss": 2}\n{"step": 1, "loss": 1}\n')
    assert logs.read(str(file)).losses.tolist() == [3, 1]


@pytest.mark.parametrize("tensors", [False, True])
def test_tensorboard(tmp_path: Path, tensors: bool) -> None:
    found = logs.read(str(events(tmp_path / "tb", tensors=tensors)))
    np.testing.assert_allclose(found.losses, LOSSES, rtol=1e-6)
    (file,) = (tmp_path / "tb").iterdir()
    np.testing.assert_array_equal(logs.read(str(file)).losses, found.losses)


def test_a_truncated_event_file_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    (file,) = events(tmp_path / "tb").iterdir()
    file.write_bytes(file.read_bytes()[:-300])
    assert 280 < len(logs.read(str(tmp_path / "tb")).losses) < 300


def test_a_folder_above_the_event_files_names_the_one_below(tmp_path: Path) -> None:
    events(tmp_path / "tb")
    with pytest.raises(UserError, match=r"no log is in this folder: .* TensorBoard; did you mean .*tb\?"):
        logs.read(str(tmp_path))


def test_a_folder_of_runs_names_some_of_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for i in range(5):
        (tmp_path / f"run-{i}").mkdir()
        (tmp_path / f"run-{i}" / "log.jsonl").write_text('{"step": 1, "loss": 3}\n')
    for command in ("replay", "report"):
        assert cli.main([command, str(tmp_path)]) == 2
        told = capsys.readouterr().err
        assert "no log is in this folder" in told
        assert "run-0, " in told
        assert told.endswith(f"{tmp_path}/run-2 or 2 more?\n")


def test_weights_and_biases_csv(tmp_path: Path) -> None:
    file = tmp_path / "wandb.csv"
    with file.open("w", newline="") as opened:
        rows = csv.writer(opened)
        rows.writerow(
            ["Step", "run <b> - train/loss", "run <b> - train/loss__MIN", "run <b> - train/loss__MAX"]
        )
        rows.writerows([i, x, x, x] for i, x in enumerate(LOSSES))
    np.testing.assert_array_equal(logs.read(str(file)).losses, LOSSES)


def test_of_two_losses_one_must_be_named(tmp_path: Path) -> None:
    file = tmp_path / "two.csv"
    file.write_text("Step,a - train/loss,b - train/loss\n0,1,2\n1,3,4\n")
    with pytest.raises(
        UserError, match="several columns could be the loss: 'a - train/loss', 'b - train/loss'"
    ):
        logs.read(str(file))
    assert logs.read(str(file), choice=Choice("b - train/loss")).losses.tolist() == [2, 4]
    with pytest.raises(UserError, match=r"no column 'c' \(--loss-column\) among"):
        logs.read(str(file), choice=Choice("c"))


def test_validation_losses_are_never_taken(tmp_path: Path) -> None:
    file = tmp_path / "val.csv"
    file.write_text("step,val_loss,eval/loss\n0,1,2\n")
    with pytest.raises(UserError, match="no column loss among"):
        logs.read(str(file))


def test_every_tenth_update_is_a_record_of_its_own(tmp_path: Path) -> None:
    whole = replay_record(logs.read(str(events(tmp_path / "1"))), 500)
    tenth = logs.read(str(events(tmp_path / "10", every=10)))
    assert (tenth.stride, tenth.updates) == (10, 3000)
    outcome = replay_record(tenth, 5000)
    assert whole.switched
    assert whole.t_star is not None
    assert outcome.t_star == pytest.approx(10 * whole.t_star)
    assert outcome.switch_step == 10 * (whole.switch_step or 0)
    assert outcome.peak_lr == whole.peak_lr
    assert [test.step for test in outcome.tests] == [10 * test.step for test in whole.tests]
    assert len(outcome.learning_rates) == 3000


def test_a_few_gaps_are_missing_losses(tmp_path: Path) -> None:
    file = tmp_path / "gaps.csv"
    file.write_text("step,loss\n" + "".join(f"{i},{x}\n" for i, x in enumerate(LOSSES) if i % 7 != 3))
    found = logs.read(str(file))
    assert found.stride == 1
    assert np.isnan(found.losses[3])


@pytest.mark.parametrize(
    "text", ['{"a": 1}', "[[1, 2]]", "[]", "{}", "[" * 100_000, '{"loss": [[1]]}', '{"loss": {}}']
)
def test_json_that_is_no_log_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    (tmp_path / "x.json").write_text(text)
    assert cli.main(["replay", str(tmp_path / "x.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_run_folder_is_replayed_by_its_log(tmp_path: Path) -> None:
    lines = [{"event": "step", "loss": float(x), "step": i + 1, "lr": 0.1} for i, x in enumerate(LOSSES)]
    lines.insert(50, {"event": "test", "step": 50, "mean": [1.0]})
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    got = replay_record(logs.read(str(tmp_path)), 500)
    assert got.to_json() == autowu.replay(LOSSES, 500).to_json()
