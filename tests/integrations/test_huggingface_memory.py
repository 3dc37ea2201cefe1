"""The Hugging Face Trainer lets go of what it held."""

from __future__ import annotations

import gc
import weakref
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from integrations.contract.contract import v_curve
from integrations.huggingface import trainer_for


def test_a_trainer_that_nobody_holds_is_gone_at_once_with_its_model(tmp_path: Path) -> None:
    trainer = trainer_for(v_curve(120), tmp_path)
    trainer.train()
    held = [weakref.ref(each) for each in (trainer, trainer.model, trainer.lr_scheduler)]
    gc.collect()
    gc.disable()
    try:
        del trainer
        assert [each() for each in held] == [None] * 3
    finally:
        gc.enable()
