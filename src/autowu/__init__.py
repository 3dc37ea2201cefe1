"""autowu sets the learning rate of neural-network training by itself."""

__version__ = "0.1.0"
