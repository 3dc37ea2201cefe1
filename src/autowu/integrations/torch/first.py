"""The first copy for rewinding: of before the first update, which may be one too many."""

from __future__ import annotations

from functools import partial

import torch

from autowu.integrations.session import Session
from autowu.integrations.torch.snapshot import Snapshot
from autowu.integrations.torch.updates import Updates


def take_before_first(session: Session, snapshot: Snapshot, updates: Updates) -> None:
    """Have the copy taken as the first optimizer begins its first update, if the run is to begin with one.

    Updates that nobody sees, such as an engine's, leave it to the first read.
    """
    if session.step == 0 and session.state.snapshot_step is not None and not snapshot.kept:
        updates.before_first = partial(_take, snapshot)


@torch.inference_mode(False)  # what is kept is written to again
@torch.no_grad()
def _take(snapshot: Snapshot) -> None:
    """A copy, where all is finite. What goes wrong is told at the first read."""
    try:
        if snapshot.healthy():
            snapshot.take()
    except Exception:
        snapshot.drop()
