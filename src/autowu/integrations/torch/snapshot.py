"""The snapshot for rewinding: what training changes, as it was at one step, and the way back to it."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from autowu.integrations.torch import masters
from autowu.integrations.torch.finite import Finite
from autowu.integrations.torch.places import Key, Numbers, Place, Training
from autowu.integrations.torch.putting import changed_settings, gives_way, newer, put_back, replaceable
from autowu.integrations.torch.resting import Resting
from autowu.integrations.torch.storage import (
    clone_of,
    copy_all,
    fits,
    local,
    misfit,
    trainable,
    why_not_kept,
    write,
    zero_gradients,
)
from autowu.integrations.torch.stored import Stored, called, from_plain, to_plain
from autowu.integrations.torch.values import Values

# Settings of a parameter group that ask for a state for each parameter.
STATEFUL: Final = ("betas", "beta1", "beta2", "momentum")


class Snapshot:
    """Parameters, the optimizers' state and, given the model, its buffers, as they were at one step.

    Whatever the optimizers hold is kept, inner optimizers included. Frozen parameters are not, unless they
    are seen to change, as teachers and target networks do, or an optimizer has trained them before. All goes
    back, or nothing: what is still there is put back, what is new stays as it is.

    Memory: that of the parameters and the optimizer's state (AdamW in float32: 12 bytes a parameter), on the
    parameters' devices or on ``device``. Of a sharded tensor (DTensor) each rank keeps its own shard.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], model: nn.Module | None, device: torch.device | None
    ) -> None:
        self._training, self._device = Training(optimizers, model), device
        self._stored: Stored | None = None
        self._resting, self._finite = Resting(), Finite()
        self.left_out: dict[str, str] = {}
        """What cannot be kept, by name, and why: of the last snapshot taken."""
        self.stateless = False
        """Whether training goes on without a state that can be seen, though the settings ask for one."""
        self.cramped = False
        """Whether there was no room for the copies where they were to be."""
        self.out_of_reach: str | None = None
        """Why nothing can be put back, if that is known already."""

    def unjudged(self) -> list[Any] | None:
        """What has never been finite; None: nobody has looked yet."""
        return self._finite.to_list(Numbers(self._training))

    @property
    def training(self) -> Training:
        """What it is a snapshot of."""
        return self._training

    @property
    def kept(self) -> bool:
        """Whether there is one."""
        return self._stored is not None

    def drop(self) -> None:
        """Forget what is kept, if anything is."""
        self._stored = None

    @property
    def tensors(self) -> list[Tensor]:
        """The copies that are kept: what a snapshot takes of memory."""
        return [] if self._stored is None else list(self._stored.tensors.values())

    # --- taken ----------------------------------------------------------------------------------------

    def healthy(self) -> bool:
        """Whether all that trains is finite now, but for what has never been."""
        known, places = self._resting.moving, list(self._training.places())
        frozen = self._frozen(places) if known else {}
        moving = [local(parameter) for key, parameter in frozen.items() if key in known]
        return self._finite.healthy(places, moving)

    def broken(self) -> tuple[str, bool] | None:
        """The name of what was not finite at the last look, and whether that is a weight."""
        key = self._finite.broken
        names = called(self._training, {} if key is None else {key: ""})
        return next(((name, key is not None and key[0] == "parameter") for name in names), None)

    def take(self) -> None:
        """Keep what is there now, in the memory of the snapshot before where it fits.

        Without room for it on an accelerator, host memory is where it is kept from then on.
        """
        try:
            self._take()
        except torch.cuda.OutOfMemoryError:
            self._device, self._stored, self.cramped = torch.device("cpu"), None, True
            self._take()

    def _take(self) -> None:
        self.out_of_reach = self._out_of_reach()
        before = {} if self._stored is None else self._stored.tensors
        self.stateless = self.stateless or self._is_stateless(before)
        stored, live = Stored(self._training), list[tuple[Tensor, Tensor]]()
        left_out: dict[Key, str] = {}
        values = Values(self._training)
        places = list(self._training.places(stored.anchors))
        self._resting.look(frozen := self._frozen(places))
        for place in places:
            key, value = place.key, place.value
            if not isinstance(value, Tensor):
                with _noted(left_out, key):
                    stored.values[key], whole = values.copied(value)
                    if not whole:
                        stored.left.add(key)
                continue
            if key in frozen and key not in self._resting.moving and not self._has_state(value):
                continue
            tensor = local(value)
            if reason := why_not_kept(tensor):
                left_out[key] = reason
            elif (kept := before.get(key)) is not None and fits(kept, tensor):
                stored.tensors[key] = kept
                live.append((kept, tensor))
            else:
                with _noted(left_out, key):
                    stored.tensors[key] = clone_of(tensor, self._device)
        copy_all(live)
        stored.left.update(left_out)
        self._stored = stored
        self.left_out = called(self._training, left_out)

    # --- put back -------------------------------------------------------------------------------------

    def obstacle(self) -> str | None:
        """Why the snapshot cannot be put back now, or None; nothing is changed."""
        if self._stored is None:
            return None
        if reason := self._out_of_reach():
            return reason
        places, caches = list(self._training.places(self._stored.anchors)), self._training.caches()
        unkept = {
            place.key: local(place.value)
            for place in places
            if place.key[0] in ("parameter", "frozen") and place.key not in self._stored.tensors
        }
        for key in sorted(self._resting.changed(unkept), key=list(unkept).index):
            name = next(iter(called(self._training, {key: ""})))
            return f"{name} was frozen when the copy was taken, and has changed since"
        for place in places:
            kept = self._stored.tensors.get(place.key)
            if place.key in caches:
                continue  # where they do not fit any more, they stay
            if kept is None or not isinstance(place.value, Tensor) or replaceable(place):
                continue
            if reason := misfit(local(place.value), kept):
                name = next(iter(called(self._training, {place.key: ""})))
                return f"{name} {reason}"
        return None

    def _frozen(self, places: Iterable[Place]) -> dict[Key, Tensor]:
        """Parameters that training does not change, as far as it can be told by their settings."""
        return {
            place.key: local(place.value)
            for place in places
            if place.key[0] == "frozen" or (place.key[0] == "parameter" and not trainable(place.value))
        }

    def _has_state(self, parameter: Tensor) -> bool:
        """Whether an optimizer has trained it: layers that take turns are frozen now and then."""
        return any(optimizer.state.get(parameter) for optimizer in self._training.optimizers())

    def _out_of_reach(self) -> str | None:
        training = self._training
        reason = masters.obstacle(training.model, training.served(), training.parameters())
        return reason or masters.emptied(training.optimizers())

    @torch.no_grad()
    def restore(self) -> None:
        """Put the snapshot back, in place: to be called where there is no :meth:`obstacle`.

        Optimizer state that is newer is removed, and such as has been removed comes back. Gradients become
        zero: they are of the weights of before, and where ``optimizer.step()`` comes only now, wrong.
        """
        stored = self._stored
        if stored is None:
            return
        live, found, gone = list[tuple[Tensor, Tensor]](), set[Key](), list[tuple[Any, Any]]()
        joined = any(id(each) not in stored.anchors for each in self._training.parameters())
        numbers, values = Numbers(self._training), Values(self._training)
        # Before state is written: that may be the gradient itself, kept for the next step.
        gradients = zero_gradients(self._training.parameters())
        for place in list(self._training.places(stored.anchors)):
            key, value = place.key, place.value
            found.add(key)
            if (
                key in stored.tensors
                and isinstance(value, Tensor)
                and not misfit(local(value), stored.tensors[key])
                and not (place.entry and id(value) in gradients)
            ):
                live.append((local(value), stored.tensors[key]))
            elif place.entry is not None and (key in stored.tensors or key in stored.values):
                put_back(place.entry, stored, key, values, joined=joined)
            elif place.entry is not None and key not in stored.left and newer(place, joined):
                gone.append(place.entry)
        for holder, field in reversed(gone):  # of a list from its end on
            del holder[field]
        write(live)
        masters.write_through(self._training.served())
        for key in (*stored.tensors, *stored.values):
            if key[0] in ("state", "attribute") and key not in found and numbers.of(key) is not None:
                entry = numbers.holder(key)
                if entry is not None and (key[0] == "state" or gives_way(*entry)):
                    put_back(entry, stored, key, values)
        for optimizer in self._training.optimizers():
            for owner in [owner for owner, held in optimizer.state.items() if held == {}]:
                del optimizer.state[owner]  # by its absence some optimizers know that they have to start

    def _is_stateless(self, before: Mapping[Key, Tensor]) -> bool:
        """Whether the weights have moved, the settings ask for a state, and no optimizer has one."""
        optimizers = self._training.optimizers()
        groups = [group for optimizer in optimizers for group in optimizer.param_groups]
        asked = any(group.get(name) for group in groups for name in STATEFUL)
        if not before or not asked or any(optimizer.state for optimizer in optimizers):
            return False
        places = ((before.get(("parameter", id(each))), local(each)) for each in self._training.parameters())
        return any(
            kept is not None
            and type(now) is Tensor
            and fits(kept, now)
            and not torch.equal(kept.to(now.device), now)
            for kept, now in places
        )

    def gone(self) -> list[str]:
        """The parameters that were there when the snapshot was taken, and are trained no longer."""
        return [] if self._stored is None else self._stored.gone(self._training)

    def changed_settings(self) -> list[str]:
        """What a group was given when its optimizer was made, and has changed since, but is put back."""
        return [] if self._stored is None else changed_settings(self._training, self._stored)

    # --- checkpoints ----------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any] | None:
        """What is kept, as plain values and tensors (not copied again); None if nothing is."""
        return None if self._stored is None else to_plain(self._training, self._stored)

    def loaded(self, plain: dict[str, Any] | None, unjudged: list[Any] | None) -> Snapshot:
        """A snapshot of the same that keeps what :meth:`to_dict` gave; ``self`` stays as it is.

        Args:
            plain: that.
            unjudged: what :meth:`unjudged` gave.

        Raises:
            ValueError: ``plain`` is not a whole snapshot, or not one of these parameters and such an
                optimizer; the message names the entry.
        """
        loaded = Snapshot(self._training.given, self._training.model, self._device)
        loaded._training = self._training
        loaded._judge_all_but(unjudged)
        if plain is not None:
            loaded._keep(from_plain(self._training, self._device, plain))
        return loaded

    def _judge_all_but(self, unjudged: list[Any] | None) -> None:
        self._finite.load(unjudged, Numbers(self._training), len(self._training.parameters()))

    def _keep(self, stored: Stored) -> None:
        self._stored = stored
        # What has state was kept for that, and need not have moved.
        kept = stored.tensors.keys() - stored.with_state()
        self._resting.moving |= self._frozen(self._training.places()).keys() & kept

    def __getstate__(self) -> dict[str, Any]:
        """Keys are made of ids, which are others in a copy of all this."""
        training = self._training
        return {
            "given": training.given,
            "model": training.model,
            "device": self._device,
            "kept": self.to_dict(),
            "unjudged": self.unjudged(),
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["given"], state["model"], state["device"])
        self._judge_all_but(state["unjudged"])
        if state["kept"] is not None:
            try:
                self._keep(from_plain(self._training, self._device, state["kept"]))
            except LookupError as error:
                raise ValueError(
                    "a copy of an optimizer that holds others has lost them (torch.optim.Optimizer copies no"
                    " attributes of its own): make it anew, and load its state and AutoWU's"
                ) from error


@contextmanager
def _noted(left_out: dict[Key, str], key: Key) -> Generator[None]:
    """Note why a copy cannot be made, unless there is no room for it: elsewhere there may be."""
    try:
        yield
    except torch.cuda.OutOfMemoryError:
        raise
    except Exception as error:
        left_out[key] = f"cannot be copied ({type(error).__name__})"
