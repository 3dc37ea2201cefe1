"""AutoWU as a PyTorch scheduler: it holds a controller, reads losses, writes learning rates, rewinds."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Set
from contextlib import suppress
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from autowu.config import Config
from autowu.integrations.logged import Folder
from autowu.integrations.readable import Readable
from autowu.integrations.saved import check_keys, check_origin
from autowu.integrations.session import VERSION, Session, lacks_snapshot
from autowu.integrations.torch.asked import check_ranks, check_snapshot
from autowu.integrations.torch.compiled import compiler, leave_out
from autowu.integrations.torch.ends import Ends
from autowu.integrations.torch.first import take_before_first
from autowu.integrations.torch.groups import Groups
from autowu.integrations.torch.logged import run_log
from autowu.integrations.torch.names import SchedulerNames
from autowu.integrations.torch.nested import listed, within
from autowu.integrations.torch.nested import parameters as trained
from autowu.integrations.torch.pending import PendingLosses
from autowu.integrations.torch.published import check_arguments
from autowu.integrations.torch.ranks import OnAllRanks, leaders, several
from autowu.integrations.torch.settled import settle, to_dicts
from autowu.integrations.torch.snapshot import Snapshot
from autowu.integrations.torch.tensors import StateDict, of_rank, snapshot_of, to_arrays, to_tensors
from autowu.integrations.torch.told import Told
from autowu.integrations.torch.updates import Updates
from autowu.integrations.unread import Unread


class AutoWU(Readable, Ends, SchedulerNames):
    """Sets the learning rate by itself: grows it while the loss falls, goes back to the minimum, decays.

    Warm-up, from step a on: η_t = η_a (η_max / η_min)^((t - a) / n); n updates for the whole range (Eq. 1).
    Decay, from the switch t_0 on: η_t = η_peak (T - t) / (T - t_0); ``decay`` names other shapes.

    ::

        scheduler = autowu.AutoWU(optimizer, total_steps=12_000)
        for batch in batches:
            loss = model(batch)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step(loss)

    Args:
        optimizer: one, or a list of several: one decision and one rewind for all. Parameter groups keep the
            ratio of their LR to the first optimizer's default LR; where all have one LR, its value does not
            matter. An LR that is a tensor is changed in place.
        total_steps: T, optimizer updates of the whole run, ≥ 1. None: no end is known, and the peak LR is
            held until :meth:`cooldown` or :meth:`extend` is called.
        preset: 'default', or 'paper' (Algorithm 1), which also needs ``steps_per_epoch``.
        steps_per_epoch: updates in an epoch, where tests come at epoch ends.
        model: if given, its buffers (such as BatchNorm's statistics) are rewound with the parameters.
        snapshot_device: where the copy for rewinding is kept; by default on the parameters' own devices,
            'cpu' for host memory. It takes as much as parameters and optimizer state, to the end of the run.
        process_group: ranks whose losses are averaged; by default all, if torch.distributed is initialised.
        distributed: False to decide by this process's losses alone.
        log: a folder for the run log that `autowu report` reads; the first of several processes writes it.
        settings: fields of :class:`autowu.Config` in place of the preset's.

    Raises:
        TypeError: an unknown setting, a value of the wrong type, or a third argument by position.
        ValueError: a value is out of range, ``snapshot_device`` is not there, ``log`` is of `autowu train`, a
            group has no LR, or the default LR is not positive while the groups' LRs differ.

    Warns:
        UserWarning: no group has the default LR, no optimizer holds a parameter of the model, or one follows
            not its LR, or its first one; later on, once each: losses were not finite, had jumped, repeat, are
            a count or averages, warm-up has found no minimum, something cannot be rewound or sets the LR too,
            updates lack a ``step``, ``total_steps`` is over, the loss has risen a little and stays; each cut.
    """

    def __init__(
        self,
        optimizer: Optimizer | Sequence[Optimizer],
        total_steps: int | None = None,
        *more: object,
        preset: str = "default",
        steps_per_epoch: int | None = None,
        model: nn.Module | None = None,
        snapshot_device: torch.device | str | None = None,
        process_group: dist.ProcessGroup | None = None,
        distributed: bool = True,
        log: Folder | None = None,
        **settings: Any,
    ) -> None:
        named = settings if steps_per_epoch is None else {**settings, "steps_per_epoch": steps_per_epoch}
        check_arguments(total_steps, more, named)
        check_ranks(process_group, distributed)
        # LRScheduler.__init__ is not called: it would wrap optimizer.step and call step() without a loss.
        self.optimizers = listed(optimizer)
        self.optimizer = self.optimizers[0]
        device = check_snapshot(model, snapshot_device)
        config = Config.preset(preset, total_steps=total_steps, steps_per_epoch=steps_per_epoch, **settings)
        self._session = Session(config, log=run_log(log, config, self.optimizers, process_group))
        self._groups, self._pending = Groups(self.optimizers), PendingLosses()
        self._snapshot = Snapshot(self.optimizers, model, device)
        self._unread = Unread(self._session, self._pending.look).written_with(self)
        self._expect()
        self._process_group, self._distributed = process_group, distributed
        self._compared, self._lacked_loss, self._step_count = False, False, 1
        self._told, self._updates = Told(), Updates(self.optimizers, total_steps)
        take_before_first(self._session, self._snapshot, self._updates)
        self._groups.write(self._session.learning_rate)
        if self._group() is not None:
            from autowu.integrations.torch.uneven import join_with_ddp  # only several processes need it

            join_with_ddp(self)
        for text in self._told.at_start(self._snapshot.training):
            warnings.warn(text, stacklevel=2)

    @property
    def missing(self) -> int:
        """The former name of :attr:`nonfinite`, for loops that ask for it."""
        return self._session.nonfinite

    # --- the training loop ----------------------------------------------------------------------------

    def observe(self, loss: object) -> None:
        """Add the loss of a micro-batch to the update that the next :meth:`step` closes.

        It counts, even if the update is then given up and tried again. To be free to do so, keep the losses
        until the update is made, and give their mean to :meth:`step`.

        Args:
            loss: a tensor, NumPy or Python number with one element. A tensor is not read here, and its graph
                is not kept.

        Raises:
            TypeError, ValueError: ``loss`` is not one real number; nothing is changed.
        """
        if torch.compiler.is_compiling() or compiler() is not None:
            leave_out(AutoWU)
            self.observe(loss)
            return
        self._pending.add(loss)

    def step(self, loss: object = None) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Close an update, and set the LR of the next one: to be called once after each ``optimizer.step()``.

        Args:
            loss: the training loss of the update. It may be left out after calls of :meth:`observe`; the
                update's loss is the mean of all that were given.

        After ``total_steps`` calls the LR stays as it is, and a warning says so once.

        Raises:
            TypeError: ``loss`` is not a real number; nothing is changed.
            ValueError: ``loss`` has not exactly one element, or may be a batch size; or, at the first update
                after construction or loading, the ranks have different ``total_steps``; nothing is changed.
            RuntimeError: no loss was given, or the optimizer has lost a parameter group; nothing is changed.
        """
        if torch.compiler.is_dynamo_compiling() or compiler() is not None:  # as PyTorch's recipe has it
            leave_out(AutoWU)
            self.step(loss)
            return
        session, pending = self._session, self._pending
        if self._groups.changed:
            self._groups.take_in()
        if loss is None and not pending.open:
            self._lacked_loss = True
            raise RuntimeError(
                "AutoWU.step() needs the training loss of the update: call step(loss), or observe(loss) and"
                " then step(). (What calls step() itself, such as SequentialLR, cannot drive it; in Lightning"
                " AutoWUCallback does, in the Hugging Face Trainer AutoWUTrainer.)"
            )
        if not self._compared:
            self._compare()
        if self._lacked_loss:
            self._refuse_batch_size(loss)
        try:
            # One that was interrupted, or failed, at the update before.
            texts = self._decide() if session.due is not None and session.step >= session.due else []
            if session.due is None:
                pending.drop_update(loss)
                session.step += 1
            else:
                session.step += 1
                pending.add_update(loss)
            self._step_count += 1
            self._updates.steps += 1
            if session.step == session.due:
                texts += self._decide()
            self._groups.write(session.lr_function(session.step))
        except BaseException:
            self._settle()
            raise
        for text in texts:
            warnings.warn(text, stacklevel=2)
        if session.due is None and (text := session.overrun()):
            warnings.warn(text, stacklevel=2)
        if self._groups.overwritten and (text := self._told.overwritten(self._groups, session.step)):
            warnings.warn(text, stacklevel=2)

    def _refuse_batch_size(self, loss: object) -> None:
        if type(loss) is int:  # DeepSpeed's engine may try the batch size after an error
            raise ValueError(
                f"loss must be the training loss of the update, not the integer {loss} right after a step()"
                " that had none: a batch size? Call observe(loss) before the engine's step()."
            )
        self._lacked_loss = False

    def _decide(self) -> list[str]:
        """Read the losses, let the session decide (rank 0 for all ranks), and rewind as it says.

        Returns:
            What to warn of.
        """
        # Where only the log reads, other processes need not: theirs may have no log.
        group = None if self._session.logs_only else self._group()
        session, before = self._session, self._session.state
        try:
            self._groups.look_at_tensors()
            losses = self._pending.read(group)
            weights = OnAllRanks(self._snapshot, group)
            texts = list(session.decide(losses, weights, lambda decide: leaders(decide, group)))
        finally:  # one that is interrupted is made up for at the next step
            if session.state.step > before.step:  # a signal's handler may have moved the end alone
                self._pending.clear()
        texts += [*session.write_log(losses), *self._updates.idle()]
        self._expect()
        texts += [*self._told.gone(weights.gone, session.step)]
        texts += [*self._told.settings(weights.settings, session.step)]
        return [*texts, *self._told.after_read(self._snapshot, losses, session.step, self._pending.observed)]

    def _settle(self) -> None:
        """After Ctrl-C or an error: the update counts or it does not, and the LR is that of the next one."""
        session = self._session
        settle(session, self._pending)
        self._step_count = session.step + 1
        if session.state.snapshot_step is None:
            self._snapshot.drop()
        self._expect()
        self._groups.settle(session.learning_rate)

    def _expect(self) -> None:
        session = self._session
        self._pending.expect(1 if session.due is None else max(1, session.due - session.step))

    def trains(self, parameters: Set[int]) -> bool:
        """Whether one of its optimizers holds one of the ``parameters``, given by their ids."""
        return any(id(each) in parameters for each in trained(within(self.optimizers)))

    def _group(self) -> dist.ProcessGroup | None:
        return several(self._process_group) if self._distributed else None

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
        state, or call :meth:`share_losses` first. Up to the end the copy for rewinding is part of it (see
        ``snapshot_device``); as in the state of a module or optimizer its tensors are the live ones, not
        copies.
        """
        if self._groups.changed:  # a group may have been added since the last step
            with suppress(RuntimeError, ValueError):  # what step() refuses keeps nobody from saving
                self._groups.take_in()
        session, pending = to_dicts(self._session, self._pending)
        kept = None if self._session.state.snapshot_step is None else self._snapshot.to_dict()
        run = (to_tensors(session.pop("controller")), pending, kept, self._snapshot.unjudged())
        state = StateDict(**session, shares=self._groups.to_list(), run=run)
        rank = self._snapshot.training.shard()
        return state if rank is None or several(None) is None else of_rank(state, rank)

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`, and write the LR into the optimizer.

        Raises:
            ValueError: the state is none of AutoWU, damaged, from another version, or of a run with another
                configuration, optimizer or other parameter groups; the message names what differs, and
                nothing is changed. Another ``total_steps`` is as :meth:`extend` has it.
        """
        try:
            check_keys(state_dict, "version", "config")
            check_origin(state_dict, VERSION, self._session.asked)
            controller, pending_losses, _, *unjudged = state_dict["run"]
            kept = snapshot_of(state_dict)
            pending = PendingLosses.from_dict(pending_losses)
            session = self._session.loaded({**state_dict, "controller": to_arrays(controller)}, len(pending))
            shares = self._groups.check(state_dict["shares"])
            if lacks_snapshot(session, kept is not None):
                raise ValueError(
                    "the snapshot for rewinding and the saved state do not fit together (sharded parameters"
                    " go on with as many processes as have saved them)"
                )
            snapshot = self._snapshot.loaded(kept, unjudged[0] if unjudged else None)
        except (LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError) as error:
            raise ValueError(f"the state of AutoWU is damaged: {type(error).__name__}: {error}") from error
        self._pending, self._snapshot, self._session = pending, snapshot, session
        self._unread.follow(session, pending.look)
        self._step_count, self._compared = session.step + 1, False
        self._updates.restart()
        take_before_first(session, snapshot, self._updates)
        self._groups.load(shares)
        self._expect()
        self._groups.write(session.learning_rate)
