"""A run for TensorBoard: what its own reader finds in the event files."""

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("tensorboard")


from autowu import report
from autowu.errors import UserError
from autowu.offline import logs as record
from autowu.report import tensorboard
from autowu.runlog import run as runlog


def test_a_run_is_exported_with_the_switch_marked(
    autowu_run: Path, baseline_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from autowu import cli

    folder = tmp_path / "events"
    assert (
        cli.main(["report", str(autowu_run), str(baseline_run), "--format", "tensorboard", "-o", str(folder)])
        == 0
    )
    assert capsys.readouterr().out.endswith(f"{folder}\n")
    assert sorted(path.name for path in folder.iterdir()) == ["0-autowu", "1-baseline"]
    reader: Any = import_module("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder / "0-autowu"), size_guidance={reader.SCALARS: 0}).Reload()
    run = runlog.read(autowu_run)
    rates = events.Scalars("autowu/learning_rate")
    np.testing.assert_allclose([event.value for event in rates], run.lrs, rtol=1e-6)
    assert [event.step for event in rates] == run.steps.tolist()
    phases = {event.step: event.value for event in events.Scalars("autowu/phase (0 warm-up, 1 decay)")}
    assert (phases[400], phases[401]) == (0, 1)
    assert [event.step for event in events.Scalars("autowu/p_min/median")][-1] == 400
    assert len(events.Scalars("autowu/test_accuracy")) == 40
    (switch,) = events.Tensors("autowu/switch")
    assert switch.step == 400
    assert b"peak LR 0.01995, of step 330.0" in switch.tensor_proto.string_val[0]


def test_what_is_exported_can_be_replayed(autowu_run: Path, tmp_path: Path) -> None:
    tensorboard.export(report.read([autowu_run]), tmp_path / "events")
    found = record.read(str(tmp_path / "events" / "0-autowu"))
    assert found.lrs is not None
    assert np.isnan(found.losses[120])
    np.testing.assert_allclose(found.lrs, runlog.read(autowu_run).lrs, rtol=1e-3)


@pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "..", "", "a/b", "<b>", "x" * 500])
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    safe = tensorboard.safe(name)
    assert safe
    assert "/" not in safe
    assert safe not in (".", "..")
    assert len(safe) <= 60


def test_a_run_is_not_exported_into_a_folder_that_has_it(
    autowu_run: Path, baseline_run: Path, tmp_path: Path
) -> None:
    tensorboard.export(report.read([autowu_run]), tmp_path / "events")
    before = sorted((tmp_path / "events").rglob("*"))
    with pytest.raises(UserError, match=r"0-autowu: has event files already; remove them, or name another"):
        tensorboard.export(report.read([autowu_run, baseline_run]), tmp_path / "events")
    assert sorted((tmp_path / "events").rglob("*")) == before
