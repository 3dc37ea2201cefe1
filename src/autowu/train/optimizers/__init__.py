"""The optimizers of the trainer."""
