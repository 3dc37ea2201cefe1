"""The loss of each batch, which Keras hands to callbacks only as the epoch's running mean."""

# Keras has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import wraps
from typing import Any, cast

from keras import ops


def remembering(model: Any) -> list[Any]:
    """The metrics called 'loss', each with a variable ``last_value`` for the loss of the last batch.

    ``logs['loss']`` is the epoch's running mean. To take it apart again costs digits, more with each batch,
    and after a NaN it is NaN to the epoch's end. So the metric behind it is made to remember what it was last
    given; ``was_given`` tells whether it ever was: a ``train_step`` may return its loss past it. What
    ``test_step`` gives is none of a batch that is trained on, and is not remembered.

    There are several where a model has one of its own beside that of ``compile``.
    """
    metrics = [metric for metric in model.metrics if metric.name == "loss"]
    if not metrics:
        names = ", ".join(metric.name for metric in model.metrics) or "none"
        raise ValueError(
            "the model has no metric called 'loss', from which AutoWU could read the loss: let train_step"
            " give it to keras.metrics.Mean(name='loss'). (A GAN has no loss that is meant to fall: AutoWU is"
            f" not for it.) It has to be among the model's metrics (they are: {names})"
        )
    new = [metric for metric in metrics if not hasattr(metric, "last_value")]
    strategy = getattr(model, "distribute_strategy", None)  # of TensorFlow: each replica has its own loss
    with nullcontext() if strategy is None else strategy.scope():
        for metric in new:
            _remember(metric, _evaluation_of(model))
    if new:
        model.make_train_function(force=True)  # a compiled one would go on with what it knew
        model.test_function = None
    return metrics


def given(metrics: list[Any]) -> Any:
    """Of those of :func:`remembering`, the one that is given the loss; the first, if none is."""
    return next((metric for metric in metrics if metric.was_given), metrics[0])


def _remember(metric: Any, evaluation: _Evaluation) -> None:
    metric.last_value = metric.add_variable((), initializer="zeros", aggregation="mean", name="last_value")
    metric.was_given = False
    update_state = metric.update_state

    def remember(values: Any, *args: Any, **kwargs: Any) -> Any:
        if not evaluation.runs:
            metric.was_given = True  # on JAX, as soon as train_step is traced
            metric.last_value.assign(ops.mean(values))
        return update_state(values, *args, **kwargs)

    metric.update_state = remember


class _Evaluation:
    """Whether a model's ``test_step`` runs, or is traced: a callback may evaluate between two updates."""

    def __init__(self) -> None:
        self.runs = False

    def around(self, test_step: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(test_step)
        def marked(*args: Any, **kwargs: Any) -> Any:
            self.runs = True
            try:
                return test_step(*args, **kwargs)
            finally:
                self.runs = False

        cast("Any", marked).evaluation = self
        return marked


def _evaluation_of(model: Any) -> _Evaluation:
    known = getattr(model.test_step, "evaluation", None)
    if known is None:
        known = _Evaluation()
        model.test_step = known.around(model.test_step)
    return known
