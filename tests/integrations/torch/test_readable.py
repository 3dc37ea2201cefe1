"""What a scheduler says of itself."""

import warnings

import numpy as np

from integrations.torch.training import blown_up, drive, scheduler, v_curve


def test_repr_says_phase_step_lr_and_peak() -> None:
    made = scheduler(2000)
    assert repr(made) == "AutoWU(warmup, step 0 of 2,000, lr=1e-05)"
    drive(made, v_curve(2000)[:1500])
    lr, peak = f"{made.learning_rate:.3g}", f"{made.switch.peak_lr:.3g}"
    assert repr(made) == f"AutoWU(decay, step 1,500 of 2,000, lr={lr}, peak_lr={peak})"


def test_metrics_are_what_is_known() -> None:
    made = scheduler()
    assert made.metrics() == {"autowu/learning_rate": 1e-5, "autowu/phase": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        drive(made, blown_up())
    assert made.metrics() == {
        "autowu/learning_rate": made.learning_rate,
        "autowu/phase": 1.0,
        "autowu/p_min": float(np.median(made.verdicts[-1].p_min)),
        "autowu/peak_lr": made.switch.peak_lr,
        "autowu/cut": 1 / 3,
    }
