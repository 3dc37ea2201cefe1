"""AutoWU in other frameworks: each module holds a core object and translates; nothing is decided here.

huggingface  AutoWUTrainer, and AutoWUMixin for other subclasses of transformers' Trainer
accelerate   AcceleratedAutoWU, in place of what ``accelerator.prepare`` makes of a scheduler
"""
