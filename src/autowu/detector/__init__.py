"""Losses -> a verdict: has the loss passed its minimum? NumPy alone.

detect  the test: subsets vote by P_min
gp, fit  Gaussian-process regression, and its hyperparameters
noise   the level of the noise, and spikes
trend   is the loss falling, or rising, by more than noise explains?
"""
