"""The second quality suite: kinds of training that the first one lacks, each seconds to a minute on one core.

    registry (which kinds) ─▶ runner ─▶ train (one run) ─▶ FILE.jsonl ─▶ table

    python -m benchmarks.quality.kinds run --data DIR --results FILE.jsonl   # what is done is not done again
    python -m benchmarks.quality.kinds table FILE.jsonl ...

Contents:
    held_out    which kinds are held out
    task        what a kind of training is to the harness
    data        images and texts as tensors
    parts       networks that several kinds share
    plateau, finetune, sequence, generative, regression, images
                the tasks
    registry    all of them, with their updates and fixed peaks
    schedules   the methods that are compared
    train       one run -> one record
    runner      runs in processes of their own
    table       records -> a table
"""
