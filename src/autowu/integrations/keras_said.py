"""What the callback for Keras warns of, each once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from autowu.integrations.weights import some


def uncounted(made: int, counted: int) -> str:
    """What to warn of where the optimizer has made more updates than the batches of ``fit`` amount to."""
    updates = "update" if made == 1 else "updates"
    return (
        f"AutoWU: `model.optimizer` has made {made} {updates} where AutoWU counts {counted}: by"
        " train_on_batch, or in a train_step that makes several. A batch of fit counts as one, and sets the"
        " LR of the next; total_steps is of these alone. This is said once."
    )


def second_hand(others: str, here: float, written: float) -> str:
    """What to warn of where the learning rate is not what AutoWU had set it to."""
    return (
        f"AutoWU: something else, such as {others}, sets the optimizer's learning rate too: it is"
        f" {here:.6g}, where AutoWU had set {written:.6g}. Leave it out: AutoWU overrules it, and its"
        " tests take an update made with such an LR for one with its own. This is said once."
    )


def absent(names: Iterable[str]) -> str:
    """What to warn of where the model lacks variables of a copy that comes from elsewhere."""
    return (
        f"AutoWU: the copy for rewinding has {some(names)}, which this model has not. The rest goes back"
        " where warm-up ends; what the model has in their place stays as it is."
    )


def not_set(optimizers: Iterable[str]) -> str:
    """What to warn of where the model has ``optimizers`` besides its own."""
    return (
        f"AutoWU: the model has optimizers besides `model.optimizer` ({', '.join(optimizers)}). Their LRs"
        " stay as they are; a rewind puts the weights and the state of all back."
    )


def another_model(steps: int) -> str:
    """What to warn of where the callback has served another model before."""
    return (
        f"AutoWU: this callback has made {steps} updates of another model, and goes on with the LR from"
        " there. Make a new AutoWUCallback for each model."
    )


def not_read(what: str, others: str) -> str:
    """Something comes between an update and the callback, such as ``others``."""
    return (
        f"{what} before AutoWU has seen the batch: list AutoWUCallback before {others}. If a fit was"
        " interrupted there, fit on first; or `del model.optimizer.autowu`, to save without AutoWU"
    )


def begins_later(epoch: int) -> str:
    """What to warn of where a fit begins at a later epoch, and the schedule at its beginning."""
    return (
        f"AutoWU: fit begins at epoch {epoch}, and AutoWU at update 0, in warm-up. To go on with a run, call"
        " set_model(model) of this callback, and then model.load_weights(file)."
    )


NOT_ONCE: Final = "callbacks must be a list that has this AutoWUCallback once: callbacks=[autowu, …]"
"""Where it is in there twice; or callbacks is no list, whose callbacks Keras may call in another thread."""

IDLE: Final = (
    "AutoWU: `model.optimizer` has made no update in a whole epoch: there is nothing to set the LR for. A"
    " model whose train_step uses other optimizers is trained without AutoWU."
)
"""Where another optimizer trains, or none."""
