"""AutoWU for PyTorch.

scheduler  AutoWU, a `torch.optim.lr_scheduler.LRScheduler`; names: what is read of any such
pending    losses between two decisions, on their device
groups     the LRs of parameter groups; nested: optimizers within optimizers
snapshot   what goes back in a rewind; places: where training keeps it; stored, storage, values: copies of it
  resting  frozen weights that change nevertheless; finite: weights that are worth a copy
ranks      one decision for all processes; uneven: ranks with fewer batches
told       what it warns of besides the decisions
tensors    NumPy arrays as tensors, for checkpoints
"""
