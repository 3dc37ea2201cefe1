"""Reading a CSV file of losses: what is accepted, and how the rest is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from autowu.errors import UserError
from autowu.offline import logs

NAN, INF = math.nan, math.inf


def read(path: Path, content: str | bytes, total_steps: int | None = None) -> list[float]:
    file = path / "losses.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return logs.read(str(file), total_steps).losses.tolist()


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        pytest.param("loss\n3\n2.5\n-1e-3\n", [3, 2.5, -0.001], id="one column"),
        pytest.param("loss\n3\n2", [3, 2], id="no newline at the end"),
        pytest.param("lr,loss,note\n1,3,a\n2,2,b\n", [3, 2], id="other columns"),
        pytest.param("step,loss\n0,3\n1,2\n", [3, 2], id="numbered"),
        pytest.param("loss,step\n3,0\n2,1\n", [3, 2], id="numbered, columns swapped"),
        pytest.param("step,loss\n1,3\n2,2\n", [3, 2], id="counted from 1"),
        pytest.param("step,loss\n1,3\n4,2\n", [3, NAN, NAN, 2], id="counted from 1, with a gap"),
        pytest.param("step,loss\n0,3\n2,2\n5,1\n", [3, NAN, 2, NAN, NAN, 1], id="gaps"),
        pytest.param("step,loss\n2,3\n3,2\n", [NAN, NAN, 3, 2], id="the beginning missing"),
        pytest.param("step,loss\n0,3\n1,\n2,2\n", [3, NAN, 2], id="an empty cell"),
        pytest.param("step,loss\n0,3\n1,  \n2,2\n", [3, NAN, 2], id="a cell of spaces"),
        pytest.param("loss\n3\nnan\nNaN\nNAN\n2\n", [3, NAN, NAN, NAN, 2], id="nan in any case"),
        pytest.param(
            "loss\n3\ninf\n-INF\nInfinity\n1e999\n",
            [3, INF, -INF, INF, INF],
            id="infinite",
        ),
        pytest.param('loss\n3\n""\n2\n', [3, NAN, 2], id="a quoted empty cell"),
        pytest.param("loss\n3\n\n2\n\n\n", [3, NAN, 2], id="blank lines in one column, and at its end"),
        pytest.param("step,loss\n0,3\n\n1,2\n \n", [3, 2], id="blank lines in two columns"),
        pytest.param("\n\nloss\n3\n", [3], id="blank lines at the top"),
        pytest.param(b"\xef\xbb\xbfloss\n3\n2\n", [3, 2], id="byte order mark"),
        pytest.param(b'\xef\xbb\xbf"loss","step"\n3,0\n', [3], id="byte order mark before quotes"),
        pytest.param("step,loss\r\n0,3\r\n1,2\r\n", [3, 2], id="CRLF"),
        pytest.param("step,loss\r0,3\r1,2\r", [3, 2], id="CR"),
        pytest.param(" step , loss \n 0 , 3 \n 1 , 2 \n", [3, 2], id="spaces"),
        pytest.param('"step", "loss"\n"0", "3"\n"1","2"\n', [3, 2], id="quotes"),
        pytest.param('loss,note\n3,"a\nb"\n2,c\n', [3, 2], id="a line break in quotes"),
    ],
)
def test_what_is_accepted(tmp_path: Path, content: str | bytes, expected: list[float]) -> None:
    np.testing.assert_array_equal(read(tmp_path, content), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("", ": empty; the first line must name the columns, one of them loss", id="empty"),
        pytest.param("\n \n", ": empty; the first line must name", id="blank"),
        pytest.param("loss\n", ": no loss after the first line", id="header only"),
        pytest.param("step,loss\n\n", ": no loss after the first line", id="numbered header only"),
        pytest.param("loss\nnan\ninf\n", ": no finite loss; all 2 are missing", id="nothing finite"),
        pytest.param("2.3\n2.2\n", ": no column loss among '2.3'", id="no header"),
        pytest.param("step,cost\n0,3\n", ": no column loss among 'step', 'cost'", id="another name"),
        pytest.param("step;loss\n0;3\n", ": no column loss among 'step;loss'", id="semicolons"),
        pytest.param("loss,loss\n1,2\n", ": 2 columns loss; there must be one", id="loss twice"),
        pytest.param("step,loss,step\n1,2,3\n", ": 2 columns step; there must be one", id="step twice"),
        pytest.param("loss\n3\nhigh\n", ", line 3: loss 'high' is not a number", id="text"),
        pytest.param('x,loss\n"a\nb",3\n,high\n', ", line 4: loss 'high' is not", id="text, counting lines"),
        pytest.param(f"loss\n{'x' * 999}\n", f"loss '{'x' * 40}…' is not a number", id="long text"),
        pytest.param("loss\n3,14\n", ", line 2: 2 cells, where the first line names 1", id="decimal comma"),
        pytest.param("step,loss\n0,3\n1\n", ", line 3: 1 cell, where the first", id="a row cut short"),
        pytest.param(
            "step, loss\n0,3\nstep,loss\n0,3\n", ", line 3: the columns are named again", id="two logs"
        ),
        pytest.param("step,loss\n0,3\n1.5,2\n", ", line 3: step '1.5' is not a whole number", id="half step"),
        pytest.param("step,loss\n-1,3\n", ", line 2: step '-1' is not a whole number ≥ 0", id="negative"),
        pytest.param("step,loss\n,3\n", ", line 2: step '' is not a whole number", id="no step"),
        pytest.param(
            "step,loss\n0,3\n0,2\n", ", line 3: step 0 after step 0; steps must grow", id="repeated"
        ),
        pytest.param("step,loss\n5,3\n4,2\n", ", line 3: step 4 after step 5; steps must", id="backwards"),
        pytest.param("step,loss\n0,3\n99999999999999999999,2\n", ", line 3: step 99,9", id="a huge gap"),
        pytest.param(
            f"step,loss\n0,3\n{'9' * 5000},2\n", ", line 3: step '9999", id="a number beyond reason"
        ),
        pytest.param('loss\n3\n"2\n1\n', "not CSV (unexpected end of data)", id="an open quote"),
        pytest.param('loss\n"2"1\n', ", line 2: not CSV (", id="text after a quote"),
        pytest.param(b"loss\n3\n\xff\xfe\n", ": not a text file in UTF-8", id="Latin-1"),
        pytest.param("loss\n3\n".encode("utf-16"), ": not a text file in UTF-8", id="UTF-16"),
        pytest.param(bytes(range(256)), ": not a text file in UTF-8", id="binary"),
        pytest.param(b"\0" * 100, ":", id="zeros"),
    ],
)
def test_what_is_refused(tmp_path: Path, content: str | bytes, message: str) -> None:
    with pytest.raises(UserError) as refusal:
        read(tmp_path, content)
    assert str(refusal.value).startswith(str(tmp_path / "losses.csv"))
    assert message in str(refusal.value)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("last", ["2", "2,", "2,1e", "2,1e-", "2,-"])
def test_a_last_line_that_is_being_written_is_left_out(tmp_path: Path, last: str) -> None:
    file = tmp_path / "losses.csv"
    file.write_text(f"step,loss,lr\n0,3,.1\n1,2,.1\n{last}")
    found = logs.read(str(file))
    assert found.losses.tolist() == [3, 2]
    assert found.notes == ("the last line is cut off and left out",)


@pytest.mark.parametrize("rows", [3, 3000])
def test_a_file_that_ends_within_a_letter_is_read_as_far_as_it_goes(tmp_path: Path, rows: int) -> None:
    lines = [f"{i},{3 - i / rows},Größe\n" for i in range(rows)]
    (tmp_path / "a.csv").write_bytes(("step,loss,ö\n" + "".join(lines)).encode()[:-5])  # Gr and half of an ö
    assert len(logs.read(str(tmp_path / "a.csv")).losses) == rows
    lines = [json.dumps({"loss": 3 - i / rows, "of": "Größe"}, ensure_ascii=False) for i in range(rows)]
    (tmp_path / "a.jsonl").write_bytes("\n".join(lines).encode()[:-6])
    assert len(logs.read(str(tmp_path / "a.jsonl")).losses) == rows - 1


def test_only_the_number_that_ends_the_file_may_be_cut_off(tmp_path: Path) -> None:
    for last in ("1e", "-"):
        assert read(tmp_path, f"loss\n3\n2\n{last}") == [3, 2]
        with pytest.raises(UserError, match=f"line 3: loss '{last}' is not a number"):
            read(tmp_path, f"loss\n3\n{last}\n2")
    with pytest.raises(UserError, match="line 3: loss 'high' is not a number"):
        read(tmp_path, "loss\n3\nhigh")
    np.testing.assert_array_equal(read(tmp_path, "step,loss\n0,3\n1,"), [3, NAN])


# As Lightning's CSVLogger writes it, with LearningRateMonitor("step"), log_every_n_steps=50 and a validation.
LIGHTNING = """\
epoch,lr-AdamW,step,train_loss,val_loss
,0.01,49,,
0,,49,5.25,
,0.02,99,,
0,,99,4.75,
0,,120,,9.5
,0.03,149,,
1,,149,3.25,
,0.04,199,,
1,,199,nan,
1,,199,,8.5
,0.05,249,,
2,,249,2.5,
"""


def test_rows_of_one_step_that_fill_different_columns_are_one_row(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text(LIGHTNING)
    found = logs.read(str(file))
    np.testing.assert_array_equal(found.losses, [5.25, 4.75, 3.25, NAN, 2.5])
    assert found.lrs is not None
    assert found.lrs.tolist() == [0.01, 0.02, 0.03, 0.04, 0.05]
    assert (found.stride, found.notes) == (50, ())


def test_rows_of_one_step_without_a_loss_are_an_evaluation_if_one_of_them_is(tmp_path: Path) -> None:
    file = tmp_path / "metrics.csv"
    file.write_text("step,loss,lr,val\n0,3,.1,\n10,2,.1,\n20,1,.1,\n25,,.1,\n25,,,9.5\n30,0,.1,\n")
    found = logs.read(str(file))
    np.testing.assert_array_equal(found.losses, [3, 2, 1, 0])
    assert (found.stride, found.notes) == (10, ())


def test_an_empty_loss_is_missing_where_the_row_says_nothing_else(tmp_path: Path) -> None:
    content = "step,loss,lr,norm\n0,3,.1,1\n1,,.1,1\n2,2,.1,1\n3,,,\n4,,.1,1\n"
    np.testing.assert_array_equal(read(tmp_path, content), [3, NAN, 2, NAN, NAN])


def test_many_columns_are_not_all_listed(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"'c0', .*'c19' and 180 more; name it with"):
        read(tmp_path, ",".join(f"c{i}" for i in range(200)))


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.csv: no such file or directory"):
        logs.read(str(tmp_path / "missing.csv"))


def test_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no log is in this folder: no log.jsonl, .* of TensorBoard$"):
        logs.read(str(tmp_path))
