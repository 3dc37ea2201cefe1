"""A file for each part of a run: decide(config, state), next_read(config, state).

sweep   before lift-off: the fast growth, and the slow one after it failed
growth  from lift-off on: slow growth, tested
decay   after the switch: the peak held, and the decay; watch: what both look for
"""
