"""What test_host_loggers.py lets a process with Keras do."""

from __future__ import annotations

import numpy as np

from autowu.integrations.keras import AutoWUCallback
from integrations.contract.contract import v_curve
from integrations.keras import one_parameter


def logged() -> tuple[dict[str, list[float]], list[dict[str, float]], list[str]]:
    """Four epochs of thirty updates: Keras' history, and the driver's metrics and the repr after each."""
    schedule, model, losses = AutoWUCallback(120), one_parameter(), np.float32(v_curve(120))
    history: dict[str, list[float]] = {}
    known, said = list[dict[str, float]](), list[str]()
    for epoch in range(4):
        x = losses[30 * epoch : 30 * (epoch + 1), None]
        done = model.fit(x, x, batch_size=1, shuffle=False, verbose=0, callbacks=[schedule])
        for name, values in done.history.items():
            history.setdefault(name, []).extend(values)
        known.append(schedule.driver.metrics())
        said.append(repr(schedule))
    return history, known, said
