"""AutoWU for PyTorch.

scheduler  AutoWU, a `torch.optim.lr_scheduler.LRScheduler`
pending    losses between two decisions, on their device
snapshot   the copy for rewinding
groups     the LRs of parameter groups
tensors    NumPy arrays as tensors, for checkpoints
"""
