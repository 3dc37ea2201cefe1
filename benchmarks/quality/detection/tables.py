"""results.jsonl as tables in docs/quality-detection.md, and as a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from tests.reliability import faults

from benchmarks.quality.detection import rates, simulated
from benchmarks.quality.detection.variants import VARIANTS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "quality-detection.md"
PICTURE = ROOT / "docs" / "images" / "quality-detection.svg"
BEGIN, END = "<!-- tables: written by benchmarks/quality/detection/tables.py -->", "<!-- end of tables -->"
LENGTHS = (600, 2_000, 6_000, 20_000)  # updates
COSTLY = 0.05  # share of the loss's fall that is lost
GROUPS = {
    "simulated": ("static", "quadratic", "valley"),
    "recorded": ("recorded",),
    "recorded, with faults": ("recorded, label noise", "recorded, jumps", "recorded, a burst"),
}

Runs = dict[tuple[str, int], rates.Outcome]


@dataclass(frozen=True)
class Summary:
    """Counts of one variant on some families."""

    n: int
    false_alarms: int
    early: int
    """False alarms included."""
    late: int
    capped: int
    costly: int
    distance: float
    """Median of |log10(peak / best)|."""
    lost: float
    """Mean share of the loss's fall."""

    @classmethod
    def of(cls, outcomes: Iterable[rates.Outcome]) -> Summary:
        """Count."""
        found = list(outcomes)
        words = [rates.judge(outcome.ratio) for outcome in found]
        false_alarms = words.count("false alarm")
        return cls(
            n=len(found),
            false_alarms=false_alarms,
            early=false_alarms + words.count("early"),
            late=words.count("late"),
            capped=sum(outcome.capped for outcome in found),
            costly=sum(outcome.lost > COSTLY for outcome in found),
            distance=median(abs(outcome.ratio) for outcome in found),
            lost=math.fsum(outcome.lost for outcome in found) / len(found),
        )

    def cells(self) -> list[str]:
        """For a table."""
        counts = (self.false_alarms, self.early, self.late, self.costly)
        shares = [_share(count, self.n) for count in counts]
        return [
            str(self.n),
            *shares,
            f"{self.capped / self.n:.1%}",
            f"{self.distance:.2f}",
            f"{self.lost:.1%}",
        ]


HEAD = ["n", "false alarm", "early", "late", "costly", "capped", "distance", "lost"]


def runs(rows: Iterable[dict[str, Any]]) -> dict[str, Runs]:
    """The outcomes of each variant, by family and seed."""
    found: dict[str, Runs] = {}
    for row in rows:
        outcomes = map(rates.Outcome, row["ratio"], map(bool, row["capped"]), row["lost"])
        of = found.setdefault(row["variant"], {})
        of |= {(row["family"], row["first"] + i): outcome for i, outcome in enumerate(outcomes)}
    return found


def pick(of: Runs, families: Iterable[str]) -> Runs:
    """Those of some families."""
    return {key: outcome for key, outcome in of.items() if key[0] in families}


def paired(of: Runs, other: Runs) -> str:
    """Runs costly in ``of`` alone and in ``other`` alone, as '+a −b'."""
    both = [(of[key].lost > COSTLY, other[key].lost > COSTLY) for key in of.keys() & other.keys()]
    return f"+{both.count((True, False))} −{both.count((False, True))}"


def tables(rows: Iterable[dict[str, Any]]) -> str:
    """All the tables, in Markdown."""
    found = runs(rows)
    order = [variant.name for variant in VARIANTS if variant.name in found]
    parts = []
    for title, families in GROUPS.items():
        lines = []
        for name in order:
            of = pick(found[name], families)
            if of:
                against = paired(of, pick(found["default"], families)) if name != "default" else ""
                lines.append([_code(name), *Summary.of(of.values()).cells(), against])
        parts += [f"### {title.capitalize()}", _table(["", *HEAD, "against the default"], lines)]
    lines = []
    for family in (name for names in GROUPS.values() for name in names):
        for name in ("default", "paper"):
            if name in found and (of := pick(found[name], [family])):
                lines.append([family, name, *Summary.of(of.values()).cells()])
    parts += ["### By family", _table(["", "", *HEAD], lines)]
    lines = []
    for name in order:
        counts = [pick(found[name], [rates.two_minima(steps)]) for steps in rates.LENGTHS]
        if all(counts):
            summaries = [Summary.of(of.values()) for of in counts]
            lines.append([_code(name), *(f"{of.false_alarms} of {of.n}" for of in summaries)])
    head = ["", *(f"{steps:,} updates" for steps in rates.LENGTHS)]
    parts += ["### False alarms where the loss has two minima", _table(head, lines)]
    lines = []
    for kind, of in by_kind(found["default"]).items():
        lines.append([kind, *Summary.of(of.values()).cells()])
    parts += ["### The default by kind of run", _table(["", *HEAD], lines)]
    return "\n\n".join(parts)


def by_kind(of: Runs) -> dict[str, Runs]:
    """Simulated runs by what is wrong with the loss, by noise, and by length."""
    found: dict[tuple[str, int, str], Runs] = {}
    for (family, seed), outcome in of.items():
        kinds: list[tuple[int, str]] = []
        if family == "static":
            kinds = [(0, faults.KINDS[seed % len(faults.KINDS)])]
        elif family in GROUPS["simulated"]:
            task = simulated.task(family, seed)
            length = next(end for end in LENGTHS if task.total_steps <= end)
            kinds = [(0, f"noise: {task.noise}"), (length, f"up to {length:,} updates")]
        for order, kind in kinds:
            found.setdefault((family, order, kind), {})[family, seed] = outcome
    return {
        f"{family}, {kind}": runs for (family, _, kind), runs in sorted(found.items(), key=lambda x: x[0])
    }


def _share(count: int, of: int) -> str:
    low, high = rates.wilson(count, of)
    return f"{count / of:.1%} ({100 * low:.1f}–{100 * high:.1f})"


def _code(name: str) -> str:
    return name if name in ("default", "paper") else f"`{name}`"


def _table(head: list[str], lines: list[list[str]]) -> str:
    rows = [head, ["---"] * len(head), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


MEASURES = (("early", "#d55e00", "o"), ("late", "#0072b2", "s"), ("costly", "#1c2024", "D"))


def draw(rows: Iterable[dict[str, Any]], path: Path) -> None:
    """Rates of each variant with their 95% intervals, simulated beside recorded."""
    import matplotlib.pyplot as plt

    from autowu.report.picture_style import GREY, style

    found = runs(rows)
    order = [variant.name for variant in VARIANTS if variant.name in found]
    with style():
        figure, axes = plt.subplots(1, len(GROUPS), figsize=(11, 0.27 * len(order) + 1.2), sharey=True)
        for axis, (title, families) in zip(axes, GROUPS.items(), strict=True):
            places = [place for place, name in enumerate(order) if pick(found[name], families)]
            counted = [Summary.of(pick(found[order[place]], families).values()) for place in places]
            for shift, (measure, colour, marker) in zip((-0.24, 0, 0.24), MEASURES, strict=True):
                at = [place + shift for place in places]
                counts = [(getattr(summary, measure), summary.n) for summary in counted]
                axis.plot(
                    [100 * c / n for c, n in counts], at, marker, color=colour, markersize=3.5, label=measure
                )
                for place, count in zip(at, counts, strict=True):
                    low, high = rates.wilson(*count)
                    axis.hlines(place, 100 * low, 100 * high, color=colour, linewidth=0.9)
            if "default" in order:
                band = order.index("default")
                axis.axhspan(band - 0.5, band + 0.5, color=GREY, alpha=0.15, linewidth=0)
            axis.set(title=title, xlabel="% of runs, with 95% interval", xlim=(0, None))
        axes[0].set(yticks=range(len(order)), yticklabels=order, ylim=(len(order) - 0.4, -0.6))
        axes[0].legend(loc="lower right")
        figure.tight_layout()
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
        plt.close(figure)


def write() -> None:
    """Put both in their places; what else the page says stays."""
    rows = rates.rows()
    text = PAGE.read_text(encoding="utf-8") if PAGE.exists() else f"{BEGIN}\n{END}\n"
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    PAGE.write_text(f"{before}{BEGIN}\n\n{tables(rows)}\n\n{END}{after}", encoding="utf-8")
    draw(rows, PICTURE)
