"""Recorded losses: what would AutoWU have done?

replay      the controller over a recorded curve; strided: over one of every k-th update
what_if     the same with other settings
range_test  a record of a range test: where would its LR be?
logs        readers of CSV, JSON, TensorBoard, W&B
arguments   how a log is to be read: the flags;  decide: what is made of it, for replay and report alike
text, range_test_text, terminal_plot, command   what `autowu replay` prints
"""
