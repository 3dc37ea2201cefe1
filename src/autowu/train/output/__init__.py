"""What the trainer tells while it trains: the run log, progress, other loggers."""
