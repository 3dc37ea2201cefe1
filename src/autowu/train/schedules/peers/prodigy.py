"""Prodigy (Mishchenko and Defazio, 2023). Package ``prodigyopt``."""

# pyright: basic, reportMissingImports=false
# (The package is optional, and has no types.)

from __future__ import annotations

from prodigyopt import Prodigy

from autowu.train.schedules.method import Method
from autowu.train.schedules.peers.distance import adapted_by_distance
from autowu.train.schedules.plan import Plan


def build(plan: Plan) -> Method:
    """At the package's defaults, with the cosine to 0 that its authors recommend.

    With a warm-up they ask for ``safeguard_warmup``, and it is set then.
    """
    return adapted_by_distance(plan, Prodigy, safeguard_warmup=plan.warmup_steps() > 0)
