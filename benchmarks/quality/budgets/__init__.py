"""Search at equal cost: how many runs' compute a search needs to end where AutoWU does with one.

    plan (which studies) ─▶ runner ─▶ halving, population (one study) ─▶ results/budgets/*.jsonl ─▶ curve

A study is one search on one workload with one seed. Random search needs none: it is in the records already.

Contents:
    space       what is searched: the trials of benchmarks.quality.search
    halving     ASHA and Hyperband, by Optuna's pruners
    population  population-based training
    plan        the studies, and how long they take
    runner      those that are left, a process a core
    curve       score against compute, and how many runs AutoWU is worth
"""
