"""One self-contained HTML page: style, script, plotly.js and data inlined, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Final

from autowu.report import decision, figures, summary
from autowu.report.figures import Figure
from autowu.runlog import Run


@dataclass(frozen=True)
class Section:
    """A figure with its heading and the words that explain it."""

    heading: str
    words: str
    figure: Figure
    height: str = "medium"  # a class in page.css


CURVES: Final = """
AutoWU lets the learning rate grow (shaded) while the training loss falls, and finds out by itself when the
loss has passed its minimum, at t*. It then goes back to the learning rate of t* and lowers it to zero,
whereas a baseline follows a curve that somebody had to choose.
"""
GP_VIEW: Final = """
The loss of one update is noise around a trend; a Gaussian process, a smoother that knows how sure it is,
draws the trend and a band of two standard deviations (sd) that holds it with 95% probability. Move the slider
through the tests: the window of losses grows (grey is out of its view), and the dotted line marks t*, where
the trend is lowest.
"""
VOTES: Final = """
At each test several random subsets of the losses say how probable it is that the loss has been lower than it
is now (P_min). Once most of them are above the confidence line in enough tests in a row (numbered triangles),
the growth of the learning rate ends.
"""
ACCURACY: Final = """
The share of unseen test images that the model names correctly after each epoch, a pass over the training
data; the first epochs may lie below the picture. A learning rate that is too high shows as a dip, and the
last gains come as the learning rate falls.
"""


def sections(runs: Sequence[Run]) -> list[Section]:
    """The figures of the page, in the order in which they are read."""
    tested = [run for run in runs if run.tests]
    found = [Section("Learning rate and loss", CURVES, figures.learning_rate_and_loss(runs), "tall")]
    for run in tested:
        of = f": {run.name}" if len(tested) > 1 else ""
        found += [
            Section(
                f"What the Gaussian process sees{of}", GP_VIEW, decision.gp_view(run, len(tested)), "tall"
            ),
            Section(f"How the tests vote{of}", VOTES, decision.votes(run, len(tested))),
        ]
    if any(run.epochs for run in runs):
        found.append(Section("Test accuracy", ACCURACY, figures.accuracy(runs)))
    return found


def page(runs: Sequence[Run], plotly_js: str) -> str:
    """The page of ``runs``; ``plotly_js`` is the source of plotly.js."""
    shown = sections(runs)
    style, script = (
        files("autowu.report").joinpath(name).read_text("utf-8") for name in ("page.css", "page.js")
    )
    data = json.dumps([section.figure for section in shown], allow_nan=False, separators=(",", ":"))
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_policy(plotly_js, script)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{escape(", ".join(run.name for run in runs))} – autowu report</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>How the learning rate was set</h1>
{_table(runs)}
{_stories(runs)}
<noscript><p class="note">The figures need JavaScript, which this page brings along.</p></noscript>
{"".join(_section(section) for section in shown)}
</main>
<script type="application/json" id="figures">{_in_script(data)}</script>
<script>{plotly_js}</script>
<script>{script}</script>
</body>
</html>
"""


def _policy(*scripts: str) -> str:
    """Only these scripts may run, and nothing is loaded; plotly.js writes styles and makes images itself."""
    digests = (base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts)
    allowed = " ".join(f"'sha256-{digest}'" for digest in digests)
    images = "img-src data: blob:"
    return f"default-src 'none'; script-src {allowed}; style-src 'unsafe-inline'; {images}; base-uri 'none'"


def _in_script(data: str) -> str:
    """JSON that cannot end the script element that holds it."""
    return data.replace("<", "\\u003c")


def _table(runs: Iterable[Run]) -> str:
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in summary.COLUMNS)
    rows = "".join(f"<tr>{_cells(run)}</tr>\n" for run in runs)
    return f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table>"


def _cells(run: Run) -> str:
    cells = ((escape(name), escape(show(run))) for name, show in summary.COLUMNS.items())
    return "".join(f'<td data-name="{name}">{value}</td>' for name, value in cells)


def _stories(runs: Iterable[Run]) -> str:
    stories = list[str]()
    for run in runs:
        stories.append(f"<p><strong>{escape(run.name)}.</strong> {escape(summary.sentence(run))}</p>")
        stories += [
            f'<p class="note"><strong>{escape(run.name)}:</strong> {escape(note)}.</p>' for note in run.notes
        ]
    return "\n".join(stories)


def _section(section: Section) -> str:
    heading, words = escape(section.heading), escape(section.words).replace("P_min", "P<sub>min</sub>")
    figure = f'<div class="figure {section.height}" role="img" aria-label="{heading}"></div>'
    return f"<section>\n<h2>{heading}</h2>\n<p>{words}</p>\n{figure}\n</section>\n"
