"""The updates done and the losses that wait, made to fit where a step was interrupted at whatever line.

While losses are kept, it is they that count: the updates done are those of the last decision, and theirs.
"""

from __future__ import annotations

from typing import Any

import torch

from autowu.integrations.session import Session
from autowu.integrations.torch.pending import PendingLosses


def settle(session: Session, pending: PendingLosses) -> None:
    """Count the update that was under way if its loss is there, and forget losses that were decided upon."""
    if session.due is None:
        return
    if session.state.step == session.step:
        pending.clear()
    session.step = session.state.step + len(pending)


def to_dicts(session: Session, pending: PendingLosses) -> tuple[dict[str, Any], dict[str, Any]]:
    """Plain forms of both that fit; they stay as they are, since a signal's handler may ask within a step."""
    plain, losses = session.to_dict(), pending.to_dict()
    if session.due is not None:
        if session.state.step == session.step:
            losses |= {"losses": torch.zeros(0, dtype=torch.float64, device="cpu"), "averaged": 0}
        plain["step"] = session.state.step + len(losses["losses"])
    return plain, losses
