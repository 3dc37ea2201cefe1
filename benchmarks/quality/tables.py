"""The tables of the pages, from the records."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.quality import analysis, methods, plan, records
from benchmarks.quality.analysis import Interval
from benchmarks.quality.detection import rates
from benchmarks.quality.detection import tables as counts
from benchmarks.quality.suites import SUITES, Suite
from benchmarks.quality.workloads import BY_LENGTH, LONGEST, SMALL, WORKLOADS

AGAINST: Final = ("tuned 8", "lr-finder", "nadamw", "schedule-free")
DETECTION: Final = ("simulated", "recorded")  # runs that the detector's mistakes are counted on
PAIRED: Final = (methods.REFERENCE, "tuned 5", "tuned 1", "paper", "lr-finder", "schedule-free", "prodigy")


def workloads() -> str:
    """What each workload is."""
    rows = []
    for workload in SMALL.values():
        settings = workload.settings
        norm = f", {settings['norm']}norm" if "norm" in settings else ""
        size = f"{workload.train:,} {'characters' if workload.is_text else 'images'}"
        pooled = f", {workload.pool} × {workload.pool} pixels averaged" if workload.pool > 1 else ""
        rows.append(
            [
                workload.name + (" (held out)" if workload.held_out else ""),
                f"{workload.source.removesuffix('.npz')}, {size}{pooled}",
                f"{settings['model']}{norm}",
                settings["optimizer"],
                str(settings["batch_size"]),
                f"{workload.total_steps:,}",
            ]
        )
    return _table(["workload", "data", "model", "optimizer", "batch size", "updates"], rows)


def search() -> str:
    """What the random search chose, and what AutoWU's result is worth in trials."""
    searched, compared = records.read(records.RESULTS, "search"), records.read(records.RESULTS, "compare")
    scores, rows = analysis.by_workload(compared), []
    for name, trials in analysis.by_name(searched).items():
        chosen = plan.winners(WORKLOADS[name], searched)
        if not chosen:
            continue
        expected = analysis.best_of(trials, [1, 5, 20])
        own = list(scores.get(name, {}).get(methods.AUTOWU, {}).values())
        worth = analysis.worth(trials, float(np.mean(own))) if own else None
        best = chosen[20]
        rows.append(
            [
                name,
                str(len(trials)),
                f"{best.lr:.2g}, {best.warmup:.0%}, {best.weight_decay:.2g}",
                *(_score(name, value) for value in expected.values()),
                _score(name, float(np.mean(own))) if own else "–",
                "–" if not own else f"more than {len(trials)}" if worth is None else str(worth),
            ]
        )
    head = ["workload", "trials", "best: peak LR, warm-up, weight decay", "1", "5", "20", "AutoWU", "worth"]
    return _table(head, sorted(rows, key=lambda row: list(WORKLOADS).index(row[0])))


def compare(suite: Suite = SUITES["small"]) -> str:
    """Each method on each workload: mean and standard deviation of the seeds, and how many, if not all."""
    results = records.read(suite.results, "compare")
    scores = analysis.by_workload(results)
    names = analysis.ordered(scores)
    head = ["method", *(_short(name) for name in scores), "diverged"]
    rows = []
    for name in names:
        cells = [_cell(workload, mine.get(name), len(suite.seeds)) for workload, mine in scores.items()]
        count, of = analysis.diverged(results, name)
        rows.append([name, *cells, f"{count} of {of}"])
    return _table(head, rows)


def lengths() -> str:
    """By the length of the run: AutoWU, its warm-up, and its difference to others, paired by seed."""
    results = [each for of in ("longest", "lengths") for each in records.read(SUITES[of].results, "compare")]
    scores, rows = analysis.by_workload(results), []
    for length, workloads in BY_LENGTH.items():
        means: dict[str, list[float]] = {other: [] for other in AGAINST}
        for workload, task in zip(workloads, LONGEST, strict=True):
            mine, cells = scores.get(workload.name, {}), list[str]()
            own = mine.get(methods.AUTOWU, {})
            for other in AGAINST:
                gaps = analysis.differences(workload.name, own, mine.get(other, {}))
                means[other] += [float(np.mean(gaps))] if gaps else []
                cells.append(_interval(analysis.interval(gaps)) if gaps else "–")
            warmups = [
                100 * each["switch_step"] / each["steps"]
                for each in results
                if each["workload"] == workload.name and each["method"] == methods.AUTOWU
            ]
            rows.append(
                [
                    _short(task).removesuffix(" longest"),
                    f"{workload.total_steps:,}",
                    _cell(workload.name, own, len(own)),
                    str(len(own)),
                    f"{np.mean(warmups):.1f}%" if warmups else "–",
                    *cells,
                ]
            )
        over = [f"**{np.mean(of):+.2f}**" if len(of) == len(workloads) else "–" for of in means.values()]
        rows.append(["**mean**", f"**{length}**", "", "", "", *over])
    return _table(["task", "updates", "AutoWU", "seeds", "warm-up", *AGAINST], rows)


def paired() -> str:
    """On each workload the difference of AutoWU to others, seed by seed."""
    scores = analysis.by_workload(records.read(records.RESULTS, "compare"))
    rows = []
    for workload, mine in scores.items():
        if methods.AUTOWU in mine:
            found = [
                analysis.differences(workload, mine[methods.AUTOWU], mine.get(name, {})) for name in PAIRED
            ]
            rows.append(
                [_short(workload), *(_interval(analysis.interval(each)) if each else "–" for each in found)]
            )
    return _table(["AutoWU against", *PAIRED], rows)


def exchange() -> str:
    """AutoWU against the tuned baseline, each also with the other's weight decay, workload by workload."""
    usual, swapped = (
        analysis.by_workload(records.read(records.RESULTS, part)) for part in ("compare", "exchange")
    )
    pairs = (  # what is compared with what
        (methods.AUTOWU, usual, methods.REFERENCE, usual),
        (methods.AUTOWU, swapped, methods.REFERENCE, usual),
        (methods.AUTOWU, usual, methods.REFERENCE, swapped),
        (methods.REFERENCE, swapped, methods.REFERENCE, usual),
    )
    found: dict[str, list[Interval]] = {
        workload: [
            analysis.interval(analysis.differences(workload, of[workload][name], to[workload][other]))
            for name, of, other, to in pairs
        ]
        for workload in swapped
    }
    rows = [[_short(name), *map(_interval, cells)] for name, cells in found.items()]
    for label, held in (("mean", None), ("mean of those held out", True), ("of those looked at", False)):
        counted = [of for name, of in found.items() if held in (None, WORKLOADS[name].held_out)]
        over = [analysis.interval([each.mean for each in column]) for column in zip(*counted, strict=True)]
        rows.append([label, *map(_interval, over)])
    head = ["", "AutoWU - tuned 20, each with its own", "both with the winner's", "both with the usual"]
    return _table([*head, "tuned 20 with the usual - with its own"], rows)


def costs() -> str:
    """Seconds, the schedule's share of them, and memory."""
    results = records.read(records.RESULTS, "compare")
    rows = []
    for name in analysis.ordered(analysis.by_workload(results)):
        # Runs in slices do not take the time of the schedule.
        mine = [each for each in results if each["method"] == name and "scheduling" in each]
        if not mine:
            continue
        seconds = sum(record["seconds"] for record in mine)
        share = sum(record["scheduling"] for record in mine) / seconds
        per_update = sum(record["scheduling"] for record in mine) / sum(record["steps"] for record in mine)
        memory = np.mean([record["memory"] for record in mine])
        rows.append(
            [
                name,
                f"{seconds / len(mine):.1f}",
                f"{100 * share:.2f}%",
                f"{1e6 * per_update:.0f}",
                f"{memory:.0f}",
            ]
        )
    return _table(["method", "seconds a run", "in the schedule", "µs an update", "memory, MiB"], rows)


def ablations(suite: Suite = SUITES["small"]) -> str:
    """Each variant against the default preset, paired by seed, over the workloads that any was run on."""
    ablated = analysis.ablated(suite.results)
    found = {name: (mark, analysis.by_workload(results)) for name, (mark, results) in ablated.items()}
    columns = [name for name in suite.workloads if any(name in scores for _, scores in found.values())]
    held_out = any(WORKLOADS[name].held_out for name in columns)
    means = {"mean": None, "held out": True} if held_out else {"mean": None}
    rows = []
    for name, (mark, scores) in found.items():
        cells = []
        for workload in columns:
            mine = scores.get(workload, {})
            if name in mine and methods.AUTOWU in mine:
                points = analysis.differences(workload, mine[name], mine[methods.AUTOWU])
                cells.append(f"{np.mean(points):+.2f}" if np.isfinite(points).all() else "diverged")
            else:
                cells.append("–")
        parts = [analysis.over_workloads(scores, name, methods.AUTOWU, held) for held in means.values()]
        rows.append([name + mark, *cells, *map(_interval, parts)])
    return _table(["variant", *map(_short, columns), *means], rows)


def mistakes() -> str:
    """The two failures side by side: in the suite's ablations, and as the detector's were counted."""
    ablated = analysis.ablated()
    good = analysis.good_peaks(records.read(records.RESULTS, "sweep"))
    counted = counts.runs(rates.rows())
    rows = []
    for name in ("default", *methods.VARIANTS):
        mark, found = ablated.get(name, ("", []))
        if name == "default":
            found = records.read(records.RESULTS, "ablations")
        method = methods.AUTOWU if name == "default" else name
        words = [rates.judge(ratio) for ratio in analysis.peak_ratios(found, method, good)]
        suite = [f"{words.count(word)} of {len(words)}" if words else "–" for word in ("false alarm", "late")]
        groups = [counts.pick(counted.get(name, {}), counts.GROUPS[group]) for group in DETECTION]
        summaries = [counts.Summary.of(of.values()) if of else None for of in groups]
        cells = [str(count) for of in summaries if of for count in (of.false_alarms, of.late, of.costly)]
        if words or cells:
            rows.append([name + mark, *suite, *(cells + ["–"] * 6)[:6]])
    head = [f"{kind}: {what}" for kind in DETECTION for what in ("false alarms", "late", "costly")]
    return _table(["variant", "suite: false alarms", "late", *head], rows)


def _cell(workload: str, of: dict[int, float] | None, seeds: int) -> str:
    if not of:
        return "–"
    values = list(of.values())
    count = "" if len(values) == seeds else f" ({len(values)})"
    if not np.isfinite(values).all():
        return f"diverged{count}"
    mean = _score(workload, float(np.mean(values)))
    if len(values) == 1:
        return f"{mean}{count}"
    return f"{mean} ± {_score(workload, float(np.std(values, ddof=1)), spread=True)}{count}"


def _score(workload: str, value: float, *, spread: bool = False) -> str:
    """Accuracy in %, or the loss in nats."""
    if WORKLOADS[workload].is_text:
        return f"{abs(value):.3f}"
    return f"{value:.2f}" if not spread else f"{value:.1f}"


def _interval(of: Interval) -> str:
    if not math.isfinite(of.low):
        return "–" if not math.isfinite(of.mean) else f"{of.mean:+.2f}"
    return f"{of.mean:+.2f} ({of.low:+.2f} to {of.high:+.2f})"


def _short(workload: str) -> str:
    return workload.replace("-", " ") + (" *" if WORKLOADS[workload].held_out else "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
