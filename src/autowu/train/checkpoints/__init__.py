"""Checkpoints of the trainer: what they hold, how they are written and cut into shards."""
