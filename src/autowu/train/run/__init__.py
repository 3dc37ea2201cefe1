"""A training run: its engine, its loop, its processes and signals."""
