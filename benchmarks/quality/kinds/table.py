"""Records -> a table: a row for each kind, a column for each method."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

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


def write(records: list[dict[str, Any]]) -> str:
    """The table as Markdown, with the means of the differences over kinds at its end."""
    scores = means(records)
    names = list(dict.fromkeys(name for mine in scores.values() for name in mine))
    others = [name for name in names if not name.startswith("fixed ")]
    lines = ["| kind | five fixed peaks | best fixed |" + "".join(f" {name} |" for name in others)]
    lines += ["|---|---|---|" + "---|" * len(others)]
    gaps: dict[str, dict[str, float]] = {name: {} for name in others}
    for kind_name, mine in scores.items():
        kind, peaks = KINDS[kind_name], fixed_peaks(mine)
        best = max(peaks, key=lambda name: peaks[name]) if peaks else None
        mean = {name: float(np.mean([*of.values()])) for name, of in mine.items()}
        shown = ", ".join(f"**{of:.4g}**" if name == best else f"{of:.4g}" for name, of in peaks.items())
        edge = (
            " (edge)" if best is not None and best in (min(peaks, key=_peak), max(peaks, key=_peak)) else ""
        )
        row = [f"{kind_name}{' ◦' if kind.held_out else ''} [{kind.unit}]", shown]
        row.append(f"{best[6:]}{edge}" if best else "–")
        for name in others:
            if name not in mean:
                row.append("–")
                continue
            text = f"{mean[name]:.4g}"
            if len(mine[name]) > 1:
                text += f" [{min(mine[name].values()):.4g}, {max(mine[name].values()):.4g}]"
            if best is not None and (seeds := sorted(mine[name].keys() & mine[best].keys())):
                gap = float(np.mean([difference(kind, mine[name][s], mine[best][s]) for s in seeds]))
                gaps[name][kind_name] = gap
                text += f" ({gap:+.2g})"
            row.append(text)
        lines.append("| " + " | ".join(row) + " |")
    lines += [
        "",
        "◦ held out; in brackets the least and the largest of several seeds, and the mean difference to the",
        "best fixed peak with the same seeds: points, dB or % of the loss.",
        "Runs that diverged or ended below a constant answer count as that answer.",
        "",
    ]
    for name in others:
        for unit in ("%", "loss", "dB"):
            of = [gap for kind, gap in gaps[name].items() if KINDS[kind].unit == unit]
            if of:
                lines.append(
                    f"* {name}, {unit}: mean {np.mean(of):+.2f}, worst {min(of):+.2f} ({len(of)} kinds)"
                )
    for name, runs in lost(records).items():
        lines.append(f"* {name}, no better than a constant answer: {', '.join(runs)}")
    return "\n".join(lines)
