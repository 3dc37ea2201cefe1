"""AutoWU as a Keras 3 callback: it reads each batch's loss, writes learning rates, rewinds."""

# Keras has no type stubs, and what pyright infers of it is not so: `Callback.model` is not None.
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportOptionalMemberAccess=false

from __future__ import annotations

import math
import warnings
from threading import get_ident
from typing import Any

from autowu.extras import install

try:
    import keras
except ModuleNotFoundError as error:
    if error.name != "keras":  # such as the backend, of which Keras' own message tells
        raise
    raise ImportError(f"this needs Keras 3: {install('keras')}") from error

from autowu.config import Config
from autowu.integrations import keras_said
from autowu.integrations.driver import Driver
from autowu.integrations.exits import NEWEST, session_ended_early
from autowu.integrations.keras_loss import given, remembering
from autowu.integrations.keras_state import State, iterations, number, owner_of
from autowu.integrations.keras_variables import Variables, other_optimizers
from autowu.integrations.logged import Folder
from autowu.integrations.said import summary
from autowu.integrations.weights import Leaf, Weights


class AutoWUCallback(keras.callbacks.Callback):
    """Sets the learning rate by itself: grows it while the loss falls, goes back to the minimum, decays.

    ::

        model.compile(keras.optimizers.AdamW(), loss="sparse_categorical_crossentropy")
        schedule = AutoWUCallback(total_steps=epochs * steps_per_epoch)
        model.fit(x, y, epochs=epochs, callbacks=[schedule])

    The optimizer's own learning rate does not matter. The state is kept in the weights files that are saved
    during ``fit``: with ``BackupAndRestore``, listed after this callback, an interrupted run goes on as if
    there had been no break. With another ``total_steps`` than before it is extended or shortened to that.

    Args:
        total_steps: T, optimizer updates of the whole run, ≥ 1. None: no end is known, and the peak LR is
            held until :meth:`cooldown` or :meth:`extend` is called.
        preset: 'default', or 'paper' (Algorithm 1), which also needs ``steps_per_epoch``.
        steps_per_epoch: updates in an epoch, where tests come at epoch ends.
        log: a folder for the run log that `autowu report` reads.
        settings: fields of :class:`autowu.Config` in place of the preset's.

    ``driver`` has what can be read: ``learning_rate``, ``phase``, ``verdicts``, ``switch``.

    Raises:
        TypeError, ValueError: a setting is unknown or out of range; at the start of ``fit``, the
            optimizer's learning rate cannot be set, the model has no metric called 'loss', there is another
            AutoWUCallback, or ``steps_per_execution`` is not 1; at the first update, ``train_step`` does not
            update that metric.
    """

    def __init__(
        self,
        total_steps: int | None = None,
        *,
        preset: str = "default",
        steps_per_epoch: int | None = None,
        log: Folder | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        self.driver = Driver(
            Config.preset(preset, total_steps=total_steps, steps_per_epoch=steps_per_epoch, **settings),
            log,
            {"host": "Keras", "packages": ("keras", keras.backend.backend())},
        )
        self._metrics: list[Any] = []  # of one of them `last_value` is the last batch's loss
        self._iterations: int | None = None  # the optimizer's, at the last look
        self._in_batch, self._thread = False, 0  # the thread that trains
        self._train_function: Any = None  # the model's, at the last look
        self._variables = Variables()
        self._written: tuple[Any, float] | None = None  # the learning rate's variable, and what it was set to
        self._idle = False  # no update in this epoch so far
        self._other_model = False  # than the one that the updates so far were of
        self._warned: set[str] = set()

    def __repr__(self) -> str:
        return summary("AutoWUCallback", self.driver.session)

    def __getstate__(self) -> dict[str, Any]:
        # What a copy's model has is other variables, of the same names.
        known = {"_metrics": [], "_iterations": None, "_train_function": None, "_written": None}
        return vars(self) | known | {"_variables": Variables()}

    def set_model(self, model: Any) -> None:
        """Called by ``fit``: from here on the model's weights files hold the state, and loading sets it."""
        again = self.model is model
        super().set_model(model)
        if model.optimizer is None:
            raise ValueError("the model has no optimizer: compile it first")
        if not isinstance(model.optimizer.learning_rate, keras.Variable):
            raise ValueError(
                "the optimizer's learning rate is a schedule or a function, which AutoWU cannot set: give the"
                " optimizer a number, whatever it is"
            )
        if model.steps_per_execution != 1:
            raise ValueError(
                f"steps_per_execution must be 1, not {model.steps_per_execution}: AutoWU needs each update's"
                " loss and sets each update's learning rate"
            )
        new, self._metrics = not self._metrics, remembering(model)
        if again and owner_of(model.optimizer) is self and not self._in_batch:  # else it was interrupted
            self._look_for_uncounted(iterations(model.optimizer), 0)
        self._iterations = None
        model.optimizer.autowu = State(self)
        if others := other_optimizers(model):
            self._warn(keras_said.not_set(others))
        self._other_model = self.driver.step_count > 0 and self._variables.of_another(model)
        if (snapshot := self.driver.snapshot) is not None:
            if new:  # a copy, such as one that was pickled
                self._recognise()
            # What is unfrozen between two fits is still as it was when the snapshot left it out.
            self.driver.add_to_snapshot(self._variables.thawed(model, snapshot))

    def loaded(self, state: dict[str, Leaf]) -> None:
        """Go on from the driver's state that was in a file of the model's weights."""
        self.driver.load_state_dict(state)
        self._variables, self._written, self._other_model = Variables(), None, False
        self._iterations = None
        self._recognise()

    def _recognise(self) -> None:
        snapshot = self.driver.snapshot
        if snapshot is None:
            self._variables.named(self.model)
        elif gone := self._variables.recognised(self.model, snapshot):
            self._warn(keras_said.absent(gone))

    def on_train_begin(self, logs: Any = None) -> None:
        """Forget how far the optimizer was: a callback may load weights at this point."""
        self._iterations, self._in_batch = None, False  # the fit before may have been interrupted
        if owner_of(self.model.optimizer) not in (self, None):
            raise ValueError(f"callbacks must have one AutoWUCallback, not several: leave out {self!r}")

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Write the learning rate."""
        if self._in_batch:
            raise ValueError(keras_said.NOT_ONCE)
        self._follow_compile()
        self._in_batch, self._thread = True, get_ident()
        optimizer = self.model.optimizer
        if self._other_model:
            self._other_model = False
            self._warn(keras_said.another_model(self.driver.step_count))
        self._look_for_second_hand(batch)
        self._write_learning_rate()
        if self._iterations is None:
            self._iterations = iterations(optimizer)
            self._variables.watch(self.model)
            self._begin()

    def _begin(self) -> None:
        """Before the first update: what the run goes back to where that was one too many."""
        model, variables = self.model, self._variables
        if model.built and model.optimizer.built:  # else there are no variables yet
            self.driver.begin(lambda: variables.read(model))
            variables.settle(model, self.driver.snapshot)

    def _follow_compile(self) -> None:
        """Within a fit a callback may compile the model anew, which makes other metrics and optimizers."""
        model = self.model
        known = owner_of(model.optimizer) is self and model.train_function is self._train_function
        if self._iterations is not None and not known:
            self.set_model(model)
        self._train_function = model.train_function

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Read the batch's loss; if the optimizer has made an update, close it, and rewind if need be."""
        if get_ident() != self._thread:  # beside the training, as Keras does for a callback outside of a list
            raise ValueError(keras_said.NOT_ONCE)
        self._in_batch = False
        model = self.model  # on JAX, this brings the variables up to date
        metric = given(self._metrics)
        self.driver.observe(number(metric.last_value))
        # Not after each batch with gradient_accumulation_steps, nor where the loss scale overflowed.
        if (made := iterations(model.optimizer)) == self._iterations:
            return
        self._look_for_uncounted(made, 1)
        if not metric.was_given:
            raise ValueError(
                "train_step has made an update, but has not given its loss to the metric called 'loss', from"
                " which AutoWU reads it: let it call that metric's update_state(loss)"
            )
        self._idle, self._iterations = False, made
        variables = self._variables
        weights = self.driver.step(
            lambda: variables.read(model), lambda snapshot: variables.check(model, snapshot)
        )
        self._put_back(weights)

    def extend(self, total_steps: int) -> None:
        """The run ends after ``total_steps`` updates: more or fewer than was planned, or than were known.

        Warm-up goes on as it began. A decay that has begun bends towards the new end, and the LR jumps
        nowhere; a stable phase becomes a decay.

        Raises:
            TypeError: ``total_steps`` is no integer.
            ValueError: it is not above the updates done, or the run is over; nothing is changed.
        """
        self.driver.extend(total_steps)

    def cooldown(self, steps: int) -> None:
        """The LR falls to zero in the next ``steps`` updates, by the shape of the decay.

        It may be called at any time, by a callback that is listed after this one; in warm-up the LR, and the
        weights, first go back to the best known.

        Raises:
            TypeError: ``steps`` is no integer.
            ValueError: it is below 1, or the run is over; nothing is changed.
            RuntimeError: the optimizer has made an update whose loss has not been read yet.
        """
        self._check_that_all_is_read("the cooldown begins", "the callback that calls cooldown()")
        model, variables = self.model, self._variables
        weights = self.driver.cooldown(
            steps, lambda: variables.read(model), lambda snapshot: variables.check(model, snapshot)
        )
        if model is None:  # before the first fit
            return
        self._put_back(weights)
        if self._in_batch:
            self._write_learning_rate()

    def _write_learning_rate(self) -> None:
        self.model.optimizer.learning_rate = self.driver.learning_rate
        self._note_written()

    def _note_written(self) -> None:
        variable = self.model.optimizer.learning_rate
        self._written = variable, number(variable)

    def _put_back(self, weights: Weights | None) -> None:
        model = self.model
        try:
            self._variables.settle(model, self.driver.snapshot)
            if weights is not None:
                self._variables.write(model, weights)
                self._iterations = iterations(model.optimizer)
        except BaseException:  # Ctrl-C: they may not be back
            self.driver.owe(weights)
            raise

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Nothing has been updated in it yet."""
        self._idle = True
        if epoch > 0 and self._iterations is None and self.driver.step_count == 0:
            self._warn(keras_said.begins_later(epoch))

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Log the epoch's last learning rate, where Keras' own schedules log theirs."""
        if self._in_batch:  # a stream's end came in its place
            self._in_batch = False
            self._note_written()  # on JAX, what was written for it is lost
            self._iterations = iterations(self.model.optimizer)  # TensorFlow has counted it
        if self._idle:
            self._warn(keras_said.IDLE)
        if logs is not None:
            logs["learning_rate"] = number(self.model.optimizer.learning_rate)
            known = self.driver.metrics()
            # The same in each epoch, as CSVLogger has it.
            logs |= {f"autowu/{name}": known.get(f"autowu/{name}", math.nan) for name in ("phase", "p_min")}

    def on_train_end(self, logs: Any = None) -> None:
        """After the last of ``total_steps`` updates: leave the weights files as they are without AutoWU."""
        driver = self.driver
        over = driver.total_steps is not None and driver.step_count >= driver.total_steps
        if over and owner_of(self.model.optimizer) is self:
            del self.model.optimizer.autowu
        NEWEST.seen(driver)
        text = session_ended_early(driver.session)
        if text is not None:
            self._warn(f"{text} If another fit goes on from here, all is well.", "ended")

    def state_for_saving(self) -> dict[str, Leaf]:
        """The driver's state.

        Raises:
            RuntimeError: the optimizer has made an update whose loss has not been read yet.
        """
        self._check_that_all_is_read(
            "the weights are saved", "BackupAndRestore, ModelCheckpoint and the like"
        )
        return self.driver.state_dict()

    def _check_that_all_is_read(self, what: str, others: str) -> None:
        if self._in_batch and iterations(self.model.optimizer) != self._iterations:
            raise RuntimeError(keras_said.not_read(what, others))

    def _look_for_uncounted(self, made: int, counted: int) -> None:
        if self._iterations is not None and made - self._iterations > counted:
            self._warn(keras_said.uncounted(made - self._iterations, counted), "uncounted")

    def _look_for_second_hand(self, batch: int) -> None:
        variable = self.model.optimizer.learning_rate
        if self._written is None or self._written[0] is not variable:
            return
        here, written = number(variable), self._written[1]
        if here != written:
            others = "LearningRateScheduler or ReduceLROnPlateau" if batch == 0 else "another callback"
            self._warn(keras_said.second_hand(others, here, written), "second hand")

    def _warn(self, text: str, kind: str = "") -> None:
        if (kind or text) not in self._warned:
            self._warned.add(kind or text)
            warnings.warn(text, stacklevel=3)
