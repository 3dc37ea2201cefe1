"""Records -> a table."""
from typing import Any
def write(found: list[dict[str, Any]]) -> str:
    """Not yet."""
    return ""
