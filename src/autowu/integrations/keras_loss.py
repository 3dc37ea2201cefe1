"""The loss of each batch, which Keras hands to callbacks only as the epoch's running mean."""

# Keras has no type stubs.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownMemberType=false

from __future__ import annotations

from typing import Any

from keras import ops


def remembering(model: Any) -> Any:
    """The metric called 'loss', with a variable ``last_value`` for the loss of the last batch.

    ``logs['loss']`` is the epoch's running mean. To take it apart again costs digits, more with each batch,
    and after a NaN it is NaN to the epoch's end. So the metric behind it is made to remember what it was last
    given; ``was_given`` tells whether it ever was: a ``train_step`` may return its loss past it.
    """
    metric = next((metric for metric in model.metrics if metric.name == "loss"), None)
    if metric is None:
        raise ValueError("the model has no metric called 'loss', from which AutoWU could read the loss")
    if not hasattr(metric, "last_value"):
        metric.last_value = metric.add_variable((), initializer="zeros", name="last_value")
        metric.was_given = False
        update_state = metric.update_state

        def remember(values: Any, *args: Any, **kwargs: Any) -> Any:
            metric.was_given = True  # on JAX, as soon as train_step is traced
            metric.last_value.assign(ops.mean(values))
            return update_state(values, *args, **kwargs)

        metric.update_state = remember
        model.make_train_function(force=True)  # a compiled one would go on with what it knew
    return metric
