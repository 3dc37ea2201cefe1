"""The PyTorch scheduler, with real optimizers, models and processes."""
