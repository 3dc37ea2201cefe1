"""What each rule of the default preset is worth: both suites without it, and with faults put in.

    python -m benchmarks.quality.rent run --data DIR --results FILE.jsonl --work DIR
    python -m benchmarks.quality.rent table FILE.jsonl ...

Contents:
    rules   the rules, and how each is taken away
    faults  what is put into a real run
    hard    tasks of which single seeds are lost without some rule, and how many are
    runs    one run of either suite, with a rule taken away
    table   records -> a table

AutoWU's decisions depend on the losses alone. So where a run's losses, decided without a rule, give the same
learning rates and the same copies of the weights, that run is the same bit for bit, and is not trained again.
"""
