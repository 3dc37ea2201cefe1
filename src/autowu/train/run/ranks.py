"""Which process this is, as far as its environment says. Imports no framework."""

from __future__ import annotations

import os


def started() -> tuple[int, int] | None:
    """(processes on a node, nodes), if a launcher has started them."""
    if os.environ.get("LT_CLI_USED") == "1":
        return int(os.environ.get("LT_DEVICES", "1")), int(os.environ.get("LT_NUM_NODES", "1"))
    if "TORCHELASTIC_RUN_ID" in os.environ:
        local, world = int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["WORLD_SIZE"])
        return local, world // local
    return None


def reports_status() -> bool:
    """Whether the user or a launcher sees this process's exit status; Fabric sees to its own children."""
    return started() is not None or os.environ.get("LOCAL_RANK", "0") == "0"


def says() -> bool:
    """Whether this process, which need not have been launched yet, is the one that tells the user things."""
    return os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0")) == "0"
