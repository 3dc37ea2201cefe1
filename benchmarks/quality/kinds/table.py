"""Records -> a table: a row for each kind, a column for each method."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.quality.kinds.registry import KINDS
from benchmarks.quality.kinds.task import Kind

BEST = "best fixed"
RESULTS = Path(__file__).parent / "results.jsonl"
"""The records of the page."""


def floored(record: dict[str, Any]) -> float:
    """The score, or the trivial one where that is higher or the run diverged: how far below says nothing."""
    score, trivial = record["score"], record.get("trivial", -np.inf)
    return trivial if score is None else max(score, trivial)


def difference(kind: Kind, score: float, reference: float) -> float:
    """Points, dB, or % of the reference's loss; higher is better."""
    return 100 * (score - reference) / abs(reference) if kind.unit == "loss" else score - reference


def means(records: Iterable[dict[str, Any]]) -> dict[str, dict[str, dict[int, float]]]:
    """Kind -> method -> seed -> score; the last record of several counts."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    for record in records:
        mine = found.setdefault(record["kind"], {}).setdefault(record["method"], {})
        mine[record["seed"]] = floored(record)
    return {name: found[name] for name in KINDS if name in found}


def fixed_peaks(mine: dict[str, dict[int, float]]) -> dict[str, float]:
    """The fixed peaks in ascending order, each with the mean over the seeds that all of them have."""
    fixed = {name: of for name, of in mine.items() if name.startswith("fixed ")}
    seeds = set[int].intersection(*(set(of) for of in fixed.values())) if fixed else set[int]()
    names = sorted(fixed, key=_peak)
    return {name: float(np.mean([fixed[name][seed] for seed in sorted(seeds)])) for name in names}


def _peak(name: str) -> float:
    return float(name.removeprefix("fixed "))


def lost(records: Iterable[dict[str, Any]]) -> dict[str, list[str]]:
    """Method, but for fixed peaks -> the runs that diverged or ended no better than a constant answer."""
    found: dict[str, list[str]] = {}
    for record in records:
        if not record["method"].startswith("fixed ") and floored(record) <= record.get("trivial", -np.inf):
            found.setdefault(record["method"], []).append(f"{record['kind']} {record['seed']}")
    return found


UNITS: Final = {"%": "points", "loss": "% of the loss", "dB": "dB"}
"""Of differences, by the unit of a score."""


def write(records: list[dict[str, Any]]) -> str:
    """As Markdown: the scores of the fixed peaks and of AutoWU, then every method beside the best peak."""
    return f"{scores(records)}\n\n{against(records)}"


def scores(records: list[dict[str, Any]]) -> str:
    """A row for each kind: the fixed peaks, and the methods that are AutoWU."""
    found = means(records)
    others = [name for name in _methods(found) if name.startswith("autowu")]
    lines = ["| kind | five fixed peaks | best fixed |" + "".join(f" {name} |" for name in others)]
    lines += ["|---|---|---|" + "---|" * len(others)]
    for kind_name, mine in found.items():
        peaks = fixed_peaks(mine)
        best = _best(mine)
        shown = ", ".join(f"**{of:.4g}**" if name == best else f"{of:.4g}" for name, of in peaks.items())
        ends = (min(peaks, key=_peak), max(peaks, key=_peak)) if peaks else ()
        edge = " (edge)" if best in ends else ""
        row = [_named(kind_name), shown, f"{best[6:]}{edge}" if best else "–"]
        row += [_score(kind_name, mine, name) for name in others]
        lines.append("| " + " | ".join(row) + " |")
    return "\n".join(lines)


def against(records: list[dict[str, Any]]) -> str:
    """A row for each kind: the mean difference of every method to the best fixed peak with the same seeds.

    The mean and the worst of each unit follow, and the runs that ended no better than a constant answer.
    """
    found = means(records)
    names = _methods(found)
    gaps = {kind: {name: _gap(kind, mine, name) for name in names} for kind, mine in found.items()}
    lines = ["| kind |" + "".join(f" {name} |" for name in names), "|---|" + "---|" * len(names)]
    for kind, of in gaps.items():
        cells = ["–" if gap is None else f"{gap:+.1f}" for gap in of.values()]
        lines.append(f"| {_named(kind)} | {' | '.join(cells)} |")
    for unit, told in UNITS.items():
        cells = list[str]()
        for name in names:
            all_of_it = [of[name] for kind, of in gaps.items() if KINDS[kind].unit == unit]
            known = [gap for gap in all_of_it if gap is not None]
            cells.append(f"{np.mean(known):+.1f}, {min(known):+.1f}" if known else "–")
        lines.append(f"| *mean, worst: {told}* | {' | '.join(cells)} |")
    failed = lost(records)
    runs = [f"{len(failed.get(name, []))} of {_runs(found, name)}" for name in names]
    lines.append(f"| *runs no better than a constant answer* | {' | '.join(runs)} |")
    return "\n".join(lines)


def _methods(found: dict[str, dict[str, dict[int, float]]]) -> list[str]:
    names = dict.fromkeys(name for mine in found.values() for name in mine if not name.startswith("fixed "))
    return sorted(names, key=lambda name: not name.startswith("autowu"))


def _runs(found: dict[str, dict[str, dict[int, float]]], name: str) -> int:
    return sum(len(mine.get(name, {})) for mine in found.values())


def _named(kind: str) -> str:
    return f"{kind}{' ◦' if KINDS[kind].held_out else ''} [{KINDS[kind].unit}]"


def _best(mine: dict[str, dict[int, float]]) -> str | None:
    peaks = fixed_peaks(mine)
    return max(peaks, key=lambda name: peaks[name]) if peaks else None


def _score(kind: str, mine: dict[str, dict[int, float]], name: str) -> str:
    if name not in mine:
        return "–"
    of = mine[name].values()
    text = f"{np.mean([*of]):.4g}"
    if len(of) > 1:
        text += f" [{min(of):.4g}, {max(of):.4g}]"
    gap = _gap(kind, mine, name)
    return text if gap is None else f"{text} ({gap:+.2g})"


def _gap(kind: str, mine: dict[str, dict[int, float]], name: str) -> float | None:
    best = _best(mine)
    seeds = sorted(mine.get(name, {}).keys() & mine[best].keys()) if best is not None else []
    if best is None or not seeds:
        return None
    return float(np.mean([difference(KINDS[kind], mine[name][seed], mine[best][seed]) for seed in seeds]))
