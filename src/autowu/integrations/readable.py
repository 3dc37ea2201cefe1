"""What a user may read of a run, the same in every host that holds a session."""

from __future__ import annotations

from typing import Any, Literal

from autowu.config import Config
from autowu.controller import display
from autowu.controller.state import Cut, End, Switch
from autowu.detector.detect import Verdict
from autowu.integrations.said import metrics, summary
from autowu.integrations.session import Session


class Readable:
    """Reads of ``_session``."""

    _session: Session

    @property
    def config(self) -> Config:
        """The configuration that the run began with."""
        return self._session.config

    @property
    def total_steps(self) -> int | None:
        """T, as it is planned by now; None: no end is known."""
        return self._session.total_steps

    @property
    def phase(self) -> Literal["warmup", "stable", "decay"]:
        """The current phase."""
        return self._session.state.stage

    @property
    def learning_rate(self) -> float:
        """The schedule's η of the next update, of which each parameter group has its share."""
        return self._session.learning_rate

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The tests so far."""
        return self._session.state.verdicts

    @property
    def switch(self) -> Switch | None:
        """How warm-up ended; None before."""
        return self._session.state.switch

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """The changes of the LR since the switch, after the loss had risen for good."""
        return self._session.state.cuts

    @property
    def rewinds(self) -> int:
        """How often the weights have gone back: at the switch, at cuts, and in warm-up before.

        What else follows the weights, such as an average of them, is to be begun anew where this has grown.
        """
        return self._session.state.restores

    @property
    def ends(self) -> tuple[End, ...]:
        """The ends of the run that were set while it went on."""
        return self._session.state.horizon.ends

    @property
    def nonfinite(self) -> int:
        """Updates up to the last decision whose loss was not finite (on no rank), and so was left out."""
        return self._session.nonfinite

    def metrics(self) -> dict[str, float]:
        """LR, phase, P_min, peak and cuts, as far as known, as numbers for a logger."""
        return metrics(self._session)

    def __repr__(self) -> str:
        return summary(type(self).__name__, self._session)

    def plot(self) -> Any:
        """A Plotly figure of LR, smoothed loss and votes so far."""
        from autowu.report import notebook  # upward, for a picture of itself: only when it is asked for

        return notebook.plot(self.config, self._session.state, self._session.step)

    def records(self) -> list[dict[str, Any]]:
        """The tests so far as plain values, a row for each."""
        return display.records(self.config, self.verdicts)

    def to_frame(self) -> Any:
        """:meth:`records` as a pandas DataFrame."""
        return display.to_frame(self.config, self.verdicts)

    def _repr_html_(self) -> str:
        return display.html(type(self).__name__, self.config, self._session.state, self._session.step)
