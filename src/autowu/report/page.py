"""One self-contained HTML page: style, script, plotly.js and data inlined, nothing loaded from anywhere.

The same parts serve the live view, which asks for them again and again: see :func:`parts`.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from typing import Any, Final

from autowu.report import progress, settings, summary
from autowu.report.figures import FEW
from autowu.report.section import Section
from autowu.report.sections import sections
from autowu.runlog.run import Run

TITLE: Final = "How the learning rate was set"


def parts(
    runs: Sequence[Run], more: Sequence[Section] = (), speeds: Sequence[float | None] | None = None
) -> dict[str, Any]:
    """What the page shows of ``runs``: HTML for three places of it, and the figures.

    Args:
        runs: the runs.
        more: sections that come first.
        speeds: of runs that go on, in updates a second, where they are known.
    """
    shown = [*more, *sections(runs)]
    return {
        "title": _title(runs),
        "head": f"{_progress(runs, speeds)}{_table(runs)}\n{_stories(runs)}",
        "headings": "\n".join(section.heading for section in shown),  # when they change, so does the page
        "sections": "".join(_section(i, section) for i, section in enumerate(shown)),
        "contents": _contents(shown, runs),
        "tail": _tail(runs),
        "figures": [section.figure for section in shown],
    }


def to_json(content: object) -> str:
    """``content`` as JSON that cannot end the script element that holds it."""
    return json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def page(runs: Sequence[Run], plotly_js: str, more: Sequence[Section] = (), *, live: bool = False) -> str:
    """The page of ``runs``; ``plotly_js`` is the source of plotly.js.

    A ``live`` page asks the server that it came from for new data, and may talk to nobody else.
    """
    content = parts(runs, more)
    names = ("page.css", "runs.js", "page.js")
    style, *scripts = (files("autowu.report").joinpath(name).read_text("utf-8") for name in names)
    script = "".join(scripts)
    status = '<p id="live" role="status"></p>' if live else ""
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(plotly_js, script, live=live)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(content["title"])}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{TITLE}</h1>
{status}
{_filter(runs)}<div id="head">
{content["head"]}
</div>
<div id="contents">{content["contents"]}</div>
<noscript><p class="note">The figures need JavaScript, which this page brings along.</p></noscript>
<div id="sections">
{content["sections"]}</div>
<div id="tail">
{content["tail"]}
</div>
</main>
<script type="application/json" id="figures">{to_json(content["figures"])}</script>
<script>{plotly_js}</script>
<script>{script}</script>
</body>
</html>
"""


def _policy(*scripts: str, live: bool) -> str:
    """Only these scripts may run, and nothing is loaded; plotly.js writes styles and makes images itself."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    rules = [
        "default-src 'none'",
        f"script-src {allowed}",
        "style-src 'unsafe-inline'",
        "img-src data: blob:",
        "base-uri 'none'",
        "form-action 'none'",
        *(["connect-src 'self'"] if live else []),
    ]
    return "; ".join(rules)


def _title(runs: Sequence[Run]) -> str:
    names = [run.name for run in runs]
    shown = ", ".join(names) if len(names) <= FEW else f"{len(names)} runs: {names[0]} to {names[-1]}"
    return f"{shown} – autowu report"


def _filter(runs: Sequence[Run]) -> str:
    """A field for words that the rows of the runs must have; of a few runs there is no need of it."""
    if len(runs) <= FEW:
        return ""
    field = '<input type="search" id="filter" autocomplete="off" placeholder="sgd, 0.01, not found …">'
    return f'<p class="controls"><label>Show runs with {field}</label> <span id="matching"></span></p>\n'


def _contents(shown: Sequence[Section], runs: Sequence[Run]) -> str:
    """Links to the sections, and to the first one of each run; of a few sections there is no need of it."""
    if len(runs) <= FEW:
        return ""
    apart: dict[int, int] = {}
    for at, section in enumerate(shown):
        if section.folded and section.run is not None:
            apart.setdefault(section.run, at)
    links = [
        f'<li><a href="#s{at}">{escape(section.heading)}</a></li>'
        for at, section in enumerate(shown)
        if not section.folded
    ]
    if apart:
        each = ", ".join(
            f'<a href="#s{at}" data-run="{run}">{escape(runs[run].name)}</a>' for run, at in apart.items()
        )
        links.append(f"<li>Decisions, run by run: {each}</li>")
    return f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>'


def _progress(runs: Sequence[Run], speeds: Sequence[float | None] | None) -> str:
    lines = [progress.line(run, speed) for run, speed in zip(runs, speeds or [None] * len(runs), strict=True)]
    return "".join(
        f'<p class="progress"><strong>{escape(run.name)}</strong>: {escape(line)}</p>\n'
        for run, line in zip(runs, lines, strict=True)
        if line is not None
    )


def _table(runs: Sequence[Run]) -> str:
    columns = summary.columns(runs)
    head = "".join(f'<th scope="col"{_kind(name)}>{escape(name)}</th>' for name in columns)
    rows = "".join(
        f'<tr data-run="{i}">{_cells(columns, cells)}</tr>\n'
        for i, cells in enumerate(zip(*columns.values(), strict=True))
    )
    return f'<table class="runs">\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>'


def _cells(names: Iterable[str], cells: Iterable[str]) -> str:
    named = zip(names, cells, strict=True)
    return "".join(f'<td{_kind(name)} data-name="{escape(name)}">{escape(cell)}</td>' for name, cell in named)


def _kind(column: str) -> str:
    """The class of words: which columns there are differs from page to page."""
    return ' class="words"' if column in summary.WORDS else ""


def _stories(runs: Sequence[Run]) -> str:
    """What each run decided, in words; folded away where there are many."""
    stories = list[str]()
    for i, run in enumerate(runs):
        said = f"<p><strong>{escape(run.name)}.</strong> {escape(summary.sentence(run))}</p>"
        notes = [
            f'<p class="note"><strong>{escape(run.name)}:</strong> {escape(note)}.</p>' for note in run.notes
        ]
        if run.replayed:  # what a record cannot tell comes before what it seems to tell
            notes, said = [*notes, said], ""
        stories.append(f'<div data-run="{i}">' + "\n".join([*([said] if said else []), *notes]) + "</div>")
    told = "\n".join(stories)
    if len(runs) <= FEW:
        return told
    return f'<details id="stories"><summary>What each run decided, in words</summary>\n{told}</details>'


def _section(at: int, section: Section) -> str:
    heading, words = escape(section.heading), re.sub(r"P_(\w+)", r"P<sub>\1</sub>", escape(section.words))
    figure = f'<div class="figure {section.height}" role="img" aria-label="{heading}"></div>'
    content = f"<p>{words}</p>\n{section.controls}{figure}\n{section.html}"
    of = "" if section.run is None else f' data-run="{section.run}"'
    if section.folded:
        inner = f"<details><summary><h2>{heading}</h2></summary>\n{content}</details>"
    else:
        inner = f"<h2>{heading}</h2>\n{content}"
    return f'<section id="s{at}"{of}>\n{inner}</section>\n'


def _tail(runs: Sequence[Run]) -> str:
    """How to repeat the runs, folded away where there are many, and all their settings, which always are."""

    def folded(content: str) -> str:
        return f"<details><summary>Show</summary>\n{content}</details>" if content else ""

    commands, table = settings.reproduce(runs), settings.table(runs)
    return "\n".join(
        f"<section>\n<h2>{heading}</h2>\n{content}\n</section>"
        for heading, content in (
            ("To repeat it", commands if len(runs) <= FEW else folded(commands)),
            ("All settings", folded(table)),
        )
        if content
    )
