"""AutoWU in other frameworks: each module holds a core object and translates; nothing is decided here.

huggingface  AutoWUTrainer, and AutoWUMixin for other subclasses of transformers' Trainer
accelerate   AcceleratedAutoWU, in place of what ``accelerator.prepare`` makes of a scheduler
lightning    AutoWUCallback, a callback for ``lightning.pytorch``; ``pytorch_lightning`` has its own
keras        AutoWUCallback, a callback for Keras 3
optax        AutoWU, which sets the learning rate of ``optax.inject_hyperparams`` from outside of jit

torchvision_shim, which those of PyTorch call before they import their framework, lets torchvision be imported
where its compiled operators do not load.
"""
