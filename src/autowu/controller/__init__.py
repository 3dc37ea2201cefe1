"""Verdict -> phase -> learning rate. NumPy alone.

machine   start, observe, learning_rate: one `match` over the phases
state     what each phase knows; plain: the same as plain values, for checkpoints
phases    what each phase decides at a read, and when the next read is
ending    the switch to the decay phase, and the LR where no minimum was seen
schedule  growth and decay: closed forms of the step; rate: the LR of a state
history   the LR of every update so far
"""
