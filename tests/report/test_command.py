"""`autowu report` writes one safe page that needs nothing else, prints a table, or says what is wrong."""

import argparse
import base64
import hashlib
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from autowu import report
from autowu.errors import UserError
from autowu.extras import install
from autowu.report import page
from autowu.runlog.run import read
from report import simulated


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    report.add_arguments(parser)
    return report.run(parser.parse_args([str(argument) for argument in arguments]))


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the scripts that run."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.tags[-1] if self.tags else ("", {})
        if tag == "script" and "type" not in attributes and data.strip():
            self.scripts.append(data)


def test_the_table_and_the_path_are_printed(
    autowu_run: Path, baseline_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("plotly")
    output = tmp_path / "page.html"
    assert run(autowu_run, baseline_run, "-o", output) == 0
    assert capsys.readouterr().out.splitlines() == [
        "run       schedule  optimizer  peak LR  switch step  test accuracy  seconds",
        "autowu    autowu    adamp         0.02          400         95.22%     12.3",
        "baseline  baseline  adamp        0.004            –         95.22%     12.3",
        str(output),
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["autowu", "baseline", "page.html"]


def test_a_table_that_is_too_wide_has_the_names_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / f"cifar10-resnet18-batch-{size}" for size in (1024, 16384)]
    simulated.autowu(folders[0])
    simulated.baseline(folders[1])
    runs = report.read(folders)
    monkeypatch.setenv("COLUMNS", "80")  # as in a pipe
    assert report.table(runs).splitlines() == [
        "run",
        "  schedule  optimizer  peak LR  switch step  test accuracy  seconds",
        "cifar10-resnet18-batch-1024",
        "  autowu    adamp         0.02          400         95.22%     12.3",
        "cifar10-resnet18-batch-16384",
        "  baseline  adamp        0.004            –         95.22%     12.3",
    ]
    monkeypatch.setenv("COLUMNS", "95")
    assert list(map(len, report.table(runs).splitlines())) == [95, 95, 95]
    monkeypatch.setenv("COLUMNS", "94")
    assert len(report.table(runs).splitlines()) == 6


def test_without_o_the_page_is_report_html_here(
    autowu_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotly")
    monkeypatch.chdir(tmp_path)
    run(autowu_run)
    assert (tmp_path / "report.html").is_file()


def test_the_page_needs_nothing_else_and_stays_small(
    autowu_run: Path, baseline_run: Path, tmp_path: Path
) -> None:
    pytest.importorskip("plotly")
    output = tmp_path / "page.html"
    run(autowu_run, baseline_run, "-o", output)
    assert output.stat().st_size < 6e6
    elements = Elements(output.read_text("utf-8"))
    assert not {tag for tag, _ in elements.tags} & {"link", "img", "iframe", "object", "embed", "base"}
    assert not [a for _, attributes in elements.tags for a in ("src", "href", "srcset") if a in attributes]


def test_many_runs_have_contents_that_lead_somewhere_and_their_decisions_folded(tmp_path: Path) -> None:
    runs = [read(simulated.autowu(tmp_path / f"run{i}")) for i in range(4)]
    tags = Elements(page.page(runs, "var Plotly = {};")).tags
    links = [attributes["href"] or "" for _, attributes in tags if "href" in attributes]
    ids = {f"#{attributes['id']}" for _, attributes in tags if "id" in attributes}
    assert len(links) == len(set(links)) == 8  # four figures of all, and the four runs
    assert set(links) <= ids
    assert sum(tag == "details" for tag, _ in tags) == 8 + 3  # and those of all
    few = Elements(page.page(runs[:3], "var Plotly = {};")).tags
    assert not any("href" in attributes for _, attributes in few)
    assert sum(tag == "details" for tag, _ in few) == 1


def test_indices_are_written_as_such(autowu_run: Path) -> None:
    text = page.page([read(autowu_run)], "var Plotly = {};")
    assert "(P<sub>min</sub>)" in text
    assert "_min" not in text


def test_only_the_page_s_own_scripts_may_run(autowu_run: Path) -> None:
    text = page.page([read(autowu_run)], "var Plotly = {};")
    elements = Elements(text)
    policy = next(a["content"] for tag, a in elements.tags if tag == "meta" and "http-equiv" in a)
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in elements.scripts]
    assert len(digests) == 2
    assert re.findall(r"'sha256-(.+?)'", policy) == digests


def test_many_long_runs_fit_in_six_megabytes(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    folders = [simulated.autowu(tmp_path / "0", total=12_000, switch=5_000, t_star=4_500)]
    folders += [simulated.autowu(tmp_path / str(i), total=1000) for i in range(1, 8)]
    for some in (folders[:1], folders):
        run(*some, "-o", tmp_path / "page.html")
        assert (tmp_path / "page.html").stat().st_size < 6e6


HOSTILE = "</script><script>alert(1)<!--\x1b[2J"


def test_hostile_names_stay_text(autowu_run: Path) -> None:
    for name, text in (("run.json", "adamp"), ("log.jsonl", "the loss has not lifted off")):
        file = autowu_run / name
        file.write_text(file.read_text().replace(text, json.dumps(HOSTILE)[1:-1]))
    hostile = read(autowu_run, name=HOSTILE)
    text = page.page([hostile, hostile], "var Plotly = {};")
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert text.count("<script") == text.count("</script>") == 3
    assert "\x1b" not in text
    assert "\x1b" not in report.table([hostile])
    data = text.split('id="figures">')[1].split("</script>")[0]
    assert "<" not in data
    json.loads(data)


def test_runs_and_logs_of_one_name_are_told_apart_by_the_folders_above(tmp_path: Path) -> None:
    paths = [simulated.autowu(tmp_path / part / "run") for part in "ab"]
    paths.append(simulated.baseline(tmp_path / "baseline"))
    for above in ("a", "p", "x/deep", "y/deep"):
        paths.append(tmp_path / above / "log.csv")
        paths[-1].parent.mkdir(parents=True, exist_ok=True)
        paths[-1].write_text("loss\n3\n2\n")
    found = report.read([*paths, paths[0]])
    assert [run.name for run in found] == [
        *("a/run", "b/run", "baseline"),
        *("a/log.csv", "p/log.csv", "x/deep/log.csv", "y/deep/log.csv"),
        "a/run (2)",  # given twice
    ]
    assert found[3].command == f"autowu replay {paths[3]}"


def test_a_run_that_goes_on_is_shown_with_a_note(tmp_path: Path) -> None:
    folder = simulated.autowu(tmp_path / "run", status="running")
    log = folder / "log.jsonl"
    log.write_text("".join(log.read_text().splitlines(keepends=True)[:250])[:-5])
    text = page.page([read(folder)], "")
    assert "the run has not finished" in text
    assert "line 250 of the log is cut off" in text
    assert "the learning rate is still growing" in text


def test_a_run_without_updates_is_shown(tmp_path: Path) -> None:
    folder = simulated.baseline(tmp_path / "run", status="running")
    (folder / "log.jsonl").write_text("")
    text = page.page([read(folder)], "")
    assert "no update is logged yet" in text
    assert "No learning rate is logged" in text


def test_a_folder_without_a_run_leaves_no_page(autowu_run: Path, tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    output = tmp_path / "page.html"
    output.write_text("old")
    with pytest.raises(UserError, match=r"nothing: no such file or folder$"):
        run(autowu_run, tmp_path / "nothing", "-o", output)
    assert output.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["autowu", "page.html"]


@pytest.mark.parametrize(
    ("output", "reason"),
    [("no/such/page.html", "no such file"), ("file/page.html", "not a directory"), (".", "not a file")],
)
def test_an_output_that_cannot_be_written_is_named_before_any_work(
    tmp_path: Path, output: str, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("plotly")
    (tmp_path / "file").touch()
    monkeypatch.setattr(report, "read", lambda _: pytest.fail("work began"))
    with pytest.raises(UserError, match=rf"{re.escape(str(tmp_path / output))}: .*{reason}"):
        run(tmp_path, "-o", tmp_path / output)


@pytest.mark.parametrize("name", ["page.pdf", "page.HTM", "page.html.gz"])
def test_an_output_of_no_known_form_is_refused_before_any_work(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "read", lambda _: pytest.fail("work began"))
    with pytest.raises(UserError, match=rf"{name}: the suffix must be \.html, \.png or \.svg, not \."):
        run(tmp_path, "-o", tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_too_many_runs_are_refused(autowu_run: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="at most 32 runs, not 33"):
        run(*[autowu_run] * 33, "-o", tmp_path / "page.html")


def test_without_plotly_the_extra_is_named(
    autowu_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "plotly.offline", None)
    with pytest.raises(UserError, match=re.escape(install("report"))):
        run(autowu_run, "-o", tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
