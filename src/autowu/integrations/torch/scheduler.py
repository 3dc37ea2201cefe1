"""AutoWU as a PyTorch scheduler: it holds a controller, reads losses, writes learning rates, rewinds."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from autowu.config import Config
from autowu.controller import display
from autowu.controller.state import Phase, Reopening, State, Switch
from autowu.detector.detect import Verdict
from autowu.integrations.saved import check_keys
from autowu.integrations.session import Session
from autowu.integrations.torch.groups import base_lr, check_saved, default_lr
from autowu.integrations.torch.pending import PendingLosses
from autowu.integrations.torch.snapshot import Snapshot, check_snapshot
from autowu.integrations.torch.tensors import to_arrays, to_tensors


class AutoWU(LRScheduler):
    """Sets the learning rate by itself: grows it while the loss falls, goes back to the minimum, decays.

    ::

        scheduler = autowu.AutoWU(optimizer, total_steps=12_000)
        for batch in batches:
            loss = model(batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step(loss)

    Args:
        optimizer: its parameter groups keep the ratio of their LR to the optimizer's default LR; the LR
            itself does not matter. An LR that is a tensor is changed in place.
        total_steps: T, optimizer updates of the whole run, ≥ 1.
        preset: 'default', or 'paper' (Algorithm 1), which also needs ``steps_per_epoch``.
        steps_per_epoch: updates in an epoch, where tests come at epoch ends.
        model: if given, its buffers (such as BatchNorm's statistics) are rewound with the parameters.
        snapshot_device: where the copy for rewinding is kept; by default on the parameters' own devices,
            'cpu' for host memory. It takes the memory of the parameters and the optimizer's state, in warm-up
            only.
        process_group: ranks whose losses are averaged; by default all, if torch.distributed is initialised.
        distributed: False to decide by this process's losses alone.
        settings: fields of :class:`autowu.Config` in place of the preset's.

    Raises:
        TypeError: ``total_steps`` is missing, an unknown setting, or a value of the wrong type.
        ValueError: a value is out of range, ``snapshot_device`` is not there, or the optimizer's default LR
            is not positive while its groups' LRs differ.

    Warns:
        UserWarning: none of the groups has the optimizer's default LR; later on, at most once a run each:
            losses were not finite, warm-up has found no minimum, ``total_steps`` is over.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        total_steps: int | None = None,
        *,
        preset: str = "default",
        steps_per_epoch: int | None = None,
        model: nn.Module | None = None,
        snapshot_device: torch.device | str | None = None,
        process_group: dist.ProcessGroup | None = None,
        distributed: bool = True,
        **settings: Any,
    ) -> None:
        # LRScheduler.__init__ is not called: it would wrap optimizer.step and call step() without a loss.
        if not isinstance(optimizer, Optimizer):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"optimizer must be a torch.optim.Optimizer, not {type(optimizer).__name__}")
        snapshot_device = check_snapshot(model, snapshot_device)
        self.config = Config.preset(
            preset, total_steps=total_steps, steps_per_epoch=steps_per_epoch, **settings
        )
        self._session = Session(self.config)
        self.optimizer = optimizer
        self.total_steps = self.config.total_steps
        self._default_lr = default_lr(optimizer)
        self.base_lrs = [base_lr(group) for group in optimizer.param_groups]
        self._step_count = 1
        self._pending = PendingLosses()
        self._expect()
        self._snapshot = Snapshot(optimizer, model, snapshot_device)
        self._process_group = process_group
        self._distributed = distributed
        self._write_lr()

    # --- what the user reads --------------------------------------------------------------------------

    @property
    def last_epoch(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Updates done; the name is LRScheduler's."""
        return self._session.step

    @last_epoch.setter
    def last_epoch(self, value: int) -> None:
        raise TypeError(
            "last_epoch of AutoWU cannot be set: it counts the calls of step(loss). (A wrapper that sets it,"
            " such as SequentialLR, cannot drive it.)"
        )

    @property
    def phase(self) -> Literal["warmup", "decay"]:
        """The current phase."""
        return self._session.phase

    @property
    def verdicts(self) -> tuple[Verdict, ...]:
        """The tests so far."""
        return self._session.verdicts

    @property
    def switch(self) -> Switch | None:
        """How warm-up ended; None before."""
        return self._session.switch

    @property
    def reopenings(self) -> tuple[Reopening, ...]:
        """The returns to warm-up after switches that proved wrong, and minima that were not the last."""
        return self._session.reopenings

    @property
    def missing(self) -> int:
        """Updates up to the last decision whose loss was not finite (on no rank), and so was left out."""
        return self._session.missing

    def get_last_lr(self) -> list[float | Tensor]:
        """The current LR of each parameter group."""
        return list(self._last_lr)

    def get_lr(self) -> list[float | Tensor]:
        """The same as :meth:`get_last_lr`."""
        return self.get_last_lr()

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
        return display.html("AutoWU", self.config, self._session.state, self._session.step)

    # --- the training loop ----------------------------------------------------------------------------

    def observe(self, loss: object) -> None:
        """Add the loss of a micro-batch to the update that the next :meth:`step` closes.

        Args:
            loss: a tensor, NumPy or Python number with one element. A tensor is not read here, and its graph
                is not kept.

        Raises:
            TypeError, ValueError: ``loss`` is not one real number; nothing is changed.
        """
        self._pending.add(loss)

    def step(self, loss: object = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Close an update, and set the LR of the next one: to be called once after each ``optimizer.step()``.

        Args:
            loss: the training loss of the update. It may be left out after calls of :meth:`observe`; the
                update's loss is the mean of all that were given.

        After ``total_steps`` calls the LR stays as it is, and a warning says so once.

        Raises:
            TypeError: no loss was given, or it is not a real number; nothing is changed.
            ValueError: ``loss`` has not exactly one element; nothing is changed.
            RuntimeError: the optimizer has lost a parameter group; nothing is changed.
        """
        if len(self.optimizer.param_groups) != len(self.base_lrs):
            self._take_in_added_groups()
        session = self._session
        if loss is None and not self._pending.open:
            raise TypeError(
                "AutoWU.step() needs the training loss of the update: call step(loss), or observe(loss) and"
                " then step(). (A wrapper that calls step() itself, such as SequentialLR, cannot drive it.)"
            )
        if session.due is None:
            if loss is not None:
                self._pending.add(loss)  # which looks at it
            self._pending.drop_update()
        elif loss is None:
            self._pending.close_update()
        else:
            self._pending.add_update(loss)
        session.step += 1
        self._step_count += 1
        texts = self._decide() if session.step == session.due else ()
        self._write_lr()
        for text in texts:
            warnings.warn(text, stacklevel=2)
        if session.due is None and (text := session.overrun()):
            warnings.warn(text, stacklevel=2)

    def _write_lr(self) -> None:
        lr, default = self._session.learning_rate, self._default_lr
        values: list[float | Tensor] = []
        # As many of the one as of the other: asked before, and `strict` would cost a tenth of all of step().
        for group, base in zip(self.optimizer.param_groups, self.base_lrs):  # noqa: B905
            # The ratio first: it is exactly 1 where the group has the default LR.
            value = lr * (base / default) if default else lr
            values.append(value)
            if type(group["lr"]) is not float and isinstance(group["lr"], Tensor):
                group["lr"].fill_(value)
            else:
                group["lr"] = value
        self._last_lr = values

    def _take_in_added_groups(self) -> None:
        """Parameter groups that were added since the last update keep their ratio to the default LR, too."""
        groups, known = self.optimizer.param_groups, len(self.base_lrs)
        if len(groups) < known:
            raise RuntimeError(
                f"the optimizer has {len(groups)} parameter groups, fewer than the {known} it had"
            )
        for group in groups[known:]:
            if group["lr"] is self.optimizer.defaults.get("lr") and isinstance(group["lr"], Tensor):
                group["lr"] = group["lr"].clone()
            self.base_lrs.append(base_lr(group))

    # --- decisions ------------------------------------------------------------------------------------

    def _decide(self) -> Iterable[str]:
        """Read the losses, let the session decide (rank 0 for all ranks), and rewind as it says.

        Returns:
            What to warn of.
        """
        group = self._group()
        losses = self._pending.read(group)
        weights = _OnAllRanks(self._snapshot, group)
        texts = self._session.decide(losses, weights, lambda decide: _leaders(decide, group))
        self._expect()
        return texts

    def _expect(self) -> None:
        session = self._session
        self._pending.expect(1 if session.due is None else session.due - session.step)

    def _group(self) -> dist.ProcessGroup | None:
        if not (self._distributed and dist.is_available() and dist.is_initialized()):
            return None
        group = self._process_group or dist.group.WORLD
        return group if dist.get_world_size(group) > 1 else None

    # --- checkpoints ----------------------------------------------------------------------------------

    def share_losses(self) -> None:
        """Average the losses that wait for the next decision over the ranks, so that one can save for all.

        The decision is the same as without. A collective operation: all ranks have to call it, and then any
        one's :meth:`state_dict` serves all of them (if they hold the whole model: not if it is sharded). With
        one process it does nothing.
        """
        group = self._group()
        if group is not None:
            self._pending.average(group)

    def state_dict(self) -> dict[str, Any]:
        """Plain values and tensors, from which a run goes on bit for bit.

        Losses that wait for the next decision are this rank's own: with several processes, save each rank's
        state, or call :meth:`share_losses` first. In warm-up the copy for rewinding is part of it (see
        ``snapshot_device``); as in the state of a module or optimizer its tensors are the live ones, not
        copies.
        """
        return {
            **to_tensors(self._session.to_dict()),
            "base_lrs": list(self.base_lrs),
            "default_lr": self._default_lr,
            "pending": self._pending.to_dict(),
            "snapshot": self._snapshot.to_dict(),
        }

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, and write the LR into the optimizer.

        Raises:
            ValueError: the state is none of AutoWU, damaged, from another version, or of a run with another
                configuration, optimizer or other parameter groups; the message names what differs, and
                nothing is changed.
        """
        try:
            check_keys(state_dict, "version", "config")
            pending = PendingLosses.from_dict(state_dict["pending"])
            saved = {**state_dict, "controller": to_arrays(state_dict["controller"])}
            session = self._session.loaded(saved, len(pending))
            check_saved(self.optimizer, state_dict["base_lrs"], state_dict["default_lr"])
            kept = session.state.snapshot_step is not None
            if not kept and state_dict["snapshot"] is not None:
                raise ValueError(
                    "the saved state has a snapshot for rewinding that its controller knows nothing of"
                )
            snapshot = self._snapshot.loaded(state_dict["snapshot"] if kept else None)
        except (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise ValueError(f"the state of AutoWU is damaged: {type(error).__name__}: {error}") from error
        self._pending, self._snapshot, self._session = pending, snapshot, session
        self.base_lrs = list(state_dict["base_lrs"])
        self._default_lr = state_dict["default_lr"]
        self._step_count = session.step + 1
        self._expect()
        self._write_lr()


class _OnAllRanks:
    """The snapshots of all ranks: each takes one, or none does."""

    def __init__(self, snapshot: Snapshot, group: dist.ProcessGroup | None) -> None:
        self._snapshot, self._group = snapshot, group

    def take(self) -> bool:
        healthy = _everywhere(self._snapshot.healthy(), self._group)
        if healthy:
            self._snapshot.take()
        return healthy

    def restore(self) -> None:
        self._snapshot.restore()

    def drop(self) -> None:
        self._snapshot.drop()


def _leaders(decide: Callable[[], State[Phase]], group: dist.ProcessGroup | None) -> State[Phase]:
    """What rank 0 decides, on all ranks."""
    if group is None:
        return decide()
    leader = dist.get_global_rank(group, 0)
    message = [decide() if dist.get_rank() == leader else None]
    dist.broadcast_object_list(message, src=leader, group=group)
    return cast("State[Phase]", message[0])


def _everywhere(flag: bool, group: dist.ProcessGroup | None) -> bool:
    if group is None:
        return flag
    flags: list[bool] = [False] * dist.get_world_size(group)
    dist.all_gather_object(flags, flag, group=group)
    return all(flags)
