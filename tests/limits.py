"""The one limit of time in the tests: it ends a hang, and says nothing of how fast a machine is.

Others may be using the machine, so that everything takes many times as long as when it is quiet. Whatever
waits for something asks here, or waits without a limit; ``test_limits.py`` finds what does not. A test of
speed measures the CPU time of its own thread or process, which others hardly change.
"""

import time
from collections.abc import Callable

HANG = 900.0  # seconds: ten times what the longest wait takes on a quiet machine


def always() -> bool:
    return True


def wait_for(condition: Callable[[], bool], going_on: Callable[[], bool] = always) -> None:
    """Until ``condition()`` holds, or ``going_on()`` does no longer; what waits longer than a hang fails."""
    end = time.monotonic() + HANG
    while not condition() and going_on():
        assert time.monotonic() < end, f"nothing has happened in {HANG:g} seconds"
        time.sleep(0.005)
