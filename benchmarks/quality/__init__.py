"""The quality suite: is AutoWU, with nothing tuned, as good as a tuned baseline? See docs/quality-study.md.

    workloads ─▶ plan (which runs) ─▶ runner ─▶ trial (one run) ─▶ results/*.jsonl ─▶ analysis ─▶ page

    python -m benchmarks.quality run all --data DIR       # the whole study, and its pages
    python -m benchmarks.quality prepare --data DIR       # cut the workloads' data out of the full sets
    python -m benchmarks.quality run PART --data DIR      # what is done already is not done again
    python -m benchmarks.quality run PART --suite large --minutes 9 --data DIR --work DIR       # a slice
    python -m benchmarks.quality evidence --data DIR      # what is left of both suites, and of the searches
    python -m benchmarks.quality page                     # docs/quality*.md and their pictures

Contents:
    workloads   data, model, optimizer, batch size and budget of each; which are held out
    suites      the small study, its pilot, the longest runs, larger models: workloads, and how many runs
    prepare     the workloads' data files
    methods     what is compared, as settings of the trainer
    advised     peers as their authors advise
    schedule_free_plus          one of them, written down from its paper
    ablations   one change at a time, for training and for the detector alone
    search      the tuned baseline: random search, widened
    trial       one training run -> one record
    slices      the same, by way of checkpoints, where a run does not fit in the time there is
    plan        the runs of each part of the study
    records     their records, in files that one is added to at once
    runner      runs them in processes of their own, resumes, appends to a file
    analysis    records -> differences, intervals
    tables      the pages' tables
    pictures    their figures
    page        which table is on which page of docs
    detection   the detector alone, over simulated and recorded losses
    kinds       a second suite: kinds of training that this one lacks
    budgets     search at equal cost: how many runs AutoWU is worth
    everything  all that the comparison rests on, one after the other
    evidence    what both suites say of AutoWU against each other method, and how surely
"""
