"""The copy for rewinding of a host without PyTorch, during a decision."""

from __future__ import annotations

from collections.abc import Callable

from autowu.controller.state import Phase, State
from autowu.integrations.weights import MisfitError, Weights


class Kept:
    """What a decision makes of the snapshot. The driver takes it over once the decision has been taken."""

    def __init__(
        self,
        snapshot: Weights | None,
        before: State[Phase],
        read: Callable[[], Weights],
        check: Callable[[Weights], None],
    ) -> None:
        self.snapshot, self.before, self._read, self._check = snapshot, before, read, check
        self.restored: Weights | None = None
        self.refused = False
        self.texts: dict[str, str] = {}  # what to warn of, once of a kind

    def kept(self) -> bool:
        """Whether there is a snapshot."""
        return self.snapshot is not None

    def fits(self) -> bool:
        """Whether the snapshot can be put back as a whole, if there is one."""
        try:
            if self.snapshot is not None:
                self._check(self.snapshot)
        except MisfitError as error:
            self.texts["restore"] = (
                f"AutoWU: the snapshot for rewinding can no longer be put back: {error}. None of it is, and"
                " the run goes on without rewinding until there is a new one. This is said once."
            )
            return False
        return True

    def take(self) -> bool:
        """Read the weights; False, and the snapshot stays, if they cannot be copied or are not finite."""
        try:
            weights = self._read()
        except MisfitError as error:
            self.texts["take"] = (
                f"AutoWU: no snapshot for rewinding can be taken: {error}. The run goes on without; this is"
                " said once."
            )
            return False
        if not isinstance(weights, Weights):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"read must return Weights(parameters, rest), not {weights!r:.80}")
        if (broken := weights.broken()) is not None:
            self.texts["broken"] = (
                f"AutoWU: {broken} is not finite, though the last loss is. As long as it is so no copy for"
                " rewinding is taken; the one before stays. This is said once."
            )
            return False
        self.snapshot = weights
        return True

    def restore(self) -> None:
        """Have the snapshot put back, or ``refused``."""
        self.refused = self.snapshot is None or not self.fits()
        self.restored = None if self.refused else self.snapshot

    def drop(self) -> None:
        """Forget it."""
        self.snapshot = None
