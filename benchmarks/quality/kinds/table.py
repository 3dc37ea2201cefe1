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
"""The records of the page: one seed of each kind, method and fixed peak."""


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


def best_fixed(mine: dict[str, dict[int, float]]) -> str | None:
    """The fixed peak with the highest mean."""
    fixed = {name: float(np.mean([*of.values()])) for name, of in mine.items() if name.startswith("fixed ")}
    return max(fixed, key=lambda name: fixed[name]) if fixed else None


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
        kind, best = KINDS[kind_name], best_fixed(mine)
        mean = {name: float(np.mean([*of.values()])) for name, of in mine.items()}
        peaks = sorted((name for name in mean if name.startswith("fixed ")), key=lambda name: float(name[6:]))
        shown = ", ".join(f"**{mean[name]:.4g}**" if name == best else f"{mean[name]:.4g}" for name in peaks)
        edge = " (edge)" if best is not None and best in (peaks[0], peaks[-1]) else ""
        row = [f"{kind_name}{' ◦' if kind.held_out else ''} [{kind.unit}]", shown]
        row.append(f"{best[6:]}{edge}" if best else "–")
        for name in others:
            if name not in mean:
                row.append("–")
                continue
            text = f"{mean[name]:.4g}"
            if best is not None and (seeds := sorted(mine[name].keys() & mine[best].keys())):
                gap = float(np.mean([difference(kind, mine[name][s], mine[best][s]) for s in seeds]))
                gaps[name][kind_name] = gap
                text += f" ({gap:+.2g})"
            row.append(text)
        lines.append("| " + " | ".join(row) + " |")
    lines += [
        "",
        "◦ held out; in brackets the difference to the best fixed: points, dB or % of the loss.",
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
