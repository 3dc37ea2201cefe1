"""AutoWU in other frameworks: each module holds a core object and translates; nothing is decided here.

huggingface  AutoWUTrainer, and AutoWUMixin for other subclasses of transformers' Trainer
accelerate   AcceleratedAutoWU, in place of what ``accelerator.prepare`` makes of a scheduler
lightning    AutoWUCallback, a callback for ``lightning.pytorch``; ``pytorch_lightning`` has its own
keras        AutoWUCallback, a callback for Keras 3
optax        AutoWU, which sets the learning rate of ``optax.inject_hyperparams`` from outside of jit

session      what every host shares: the state, its decisions, what follows for the weights
  saved, warned, ended   which saved states are accepted; what is warned of, at decisions and at the end
torch        AutoWU, the PyTorch scheduler, which the first three drive
  sharded    its checkpoints where each rank holds a part
driver       the same for hosts without PyTorch; weights: the snapshot that they keep, by name
  keras_variables, optax_trees   what these hosts call by which name; optax_updates: a step an update

torchvision_shim, which those of PyTorch call before they import their framework, lets torchvision be imported
where its compiled operators do not load.
"""
