"""A file for each phase: decide(config, state), next_read(config, state), law(config, state).

sweep   before lift-off: the fast growth, and the slow one after it failed
growth  from lift-off on: slow growth, tested
decay   the decay phase, watched to its end
"""
