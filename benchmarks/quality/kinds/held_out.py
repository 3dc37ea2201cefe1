"""Which kinds are held out: named before AutoWU was run on any kind of this suite."""

from __future__ import annotations

from typing import Final

HELD_OUT: Final = frozenset(
    {
        "parity",
        "finetune-gpt",
        "autoencoder",
        "tiny-targets",
        "noise-batch-8",
        "detection",
        "mixed-shapes",
        "long-regression",
        "long-cnn",
    }
)
"""Nine of 29; constants are not chosen by them."""

LOOKED_AT: Final = frozenset(
    {
        "copy-gpt",
        "parity-sgd",
        "deep-tanh",
        "finetune-cnn",
        "lora-gpt",
        "lstm",
        "muon-gpt",
        "diffusion",
        "vae",
        "infonce",
        "smooth-regression",
        "physics",
        "raw-diabetes",
        "raw-thousands",
        "noise-batch-2",
        "rare-examples",
        "raw-inputs",
        "factorisation",
        "long-mlp",
        "long-char",
    }
)
"""The other 20: two of them, parity-sgd and rare-examples, came when a run of theirs had failed."""
