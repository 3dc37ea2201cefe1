"""D-Adaptation of Adam (Defazio and Mishchenko, 2023). Package ``dadaptation``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

from dadaptation import DAdaptAdam

from autowu.train.schedules.method import Method
from autowu.train.schedules.peers.distance import adapted_by_distance
from autowu.train.schedules.plan import Plan


def build(plan: Plan) -> Method:
    """At the package's defaults, in place of AdamW, so that weight decay is decoupled.

    The authors say to use the schedule that one would use anyway; here that is a cosine to 0.
    """
    return adapted_by_distance(plan, DAdaptAdam, decouple=True)
