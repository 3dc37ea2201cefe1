"""What optimizers keep in attributes of their own, besides tensors and single numbers, goes back, too."""

import copy
import io
import time
from collections import Counter, OrderedDict, defaultdict, deque
from enum import Enum, IntEnum
from itertools import count
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from integrations.torch.training import Training, v_curve


class Noting(SGD):
    """It notes down what it does, in all ways that there are, and could steer by any."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.history, self.pairs, self.window = [], [[0, 1.0], [2]], deque(maxlen=5)
        self.mean, self.bits = np.zeros(2), [np.zeros(3, np.float16), np.zeros(2, bool)]
        self.counts, self.by_name, self.sums = Counter(), {"a": [0.0], "b": {"c": 0}}, defaultdict(float)
        self.steps = {id(each): 0 for group in self.param_groups for each in group["params"]}
        self.done, self.fixed, self.odd = set(), frozenset(), {(1, 2): 0.0, 0.5: 1}
        self.best, self._best, self.flag, self.mode = None, None, False, "first"
        self.past, self.growing, self.emptied = deque(maxlen=3), [], []
        self.by_parameter = {}

    def step(self, closure=None):
        now = len(self.history) + 1
        self.history.append(now)
        self.pairs[0][0] += 1
        self.window.append(now)
        self.mean += 1
        self.bits[0][:] += 1
        self.bits[1] = ~self.bits[1]
        self.counts[f"at {now}"] += 1
        self.by_name["a"][0] += 1
        self.by_name["b"]["c"] += 1
        self.sums[now % 7] += now
        self.steps = {of: steps + 1 for of, steps in self.steps.items()}
        self.done.add(now)
        self.fixed = frozenset((now,))
        self.odd[1, 2] += 1
        self.best = self._best = 1.0 / now
        self.flag, self.mode = bool(now % 3), f"after {now}"
        self.past.append(torch.tensor(float(now)))
        self.growing.append(torch.full((2,), float(now)))
        self.emptied = [torch.tensor(float(now)) for _ in range(now % 4)]
        for group in self.param_groups:
            for parameter in group["params"]:
                self.by_parameter[parameter] = now
                state = self.state[parameter]
                state["array"], state["deque"] = np.full(2, now), deque([now], maxlen=2)
        return super().step(closure)


def noted(optimizer):
    """Copies of all of that; parameters by their shapes."""
    own = {name: value for name, value in vars(optimizer).items() if name in vars(Noting([torch.zeros(1)]))}
    for name in ("param_groups", "state", "defaults"):
        own.pop(name)
    own = {name: value for name, value in own.items() if "hooks" not in name}
    own["by_parameter"] = {tuple(each.shape): value for each, value in own["by_parameter"].items()}
    own["steps"] = list(own["steps"].values())
    states = [dict(state) for state in optimizer.state.values()]
    return copy.deepcopy({**own, "states": states})


def assert_same(left, right):
    """That they are equal, and of the same types."""
    assert type(left) is type(right)
    if isinstance(left, (list, tuple, deque)):
        assert len(left) == len(right)
        for one, other in zip(left, right, strict=True):
            assert_same(one, other)
    elif isinstance(left, dict):
        assert left.keys() == right.keys()
        for key, value in left.items():
            assert_same(value, right[key])
    elif isinstance(left, (np.ndarray, torch.Tensor)):
        assert left.dtype == right.dtype
        assert np.array_equal(np.asarray(left), np.asarray(right))
    else:
        assert left == right


def until_rewound(training, record):
    for loss in v_curve()[training.scheduler.last_epoch :]:
        training.update()
        record[training.scheduler.last_epoch + 1] = noted(training.optimizer)
        training.scheduler.step(loss)
        if training.scheduler.rewinds:
            return
    raise AssertionError("the weights have not gone back")


def test_all_that_an_optimizer_notes_down_goes_back_in_place():
    training, record = Training(Noting), {}
    mutable = ("history", "pairs", "window", "mean", "counts", "by_name", "sums", "done", "odd", "past")
    held = {name: getattr(training.optimizer, name) for name in mutable}
    until_rewound(training, record)
    assert_same(noted(training.optimizer), record[training.scheduler.switch.rewound_to])
    for name, value in held.items():
        assert getattr(training.optimizer, name) is value  # others may hold it
    assert training.optimizer.window.maxlen == 5
    training.update()


def test_it_is_in_checkpoints_of_plain_types_and_goes_back_where_they_are_loaded():
    training, record = Training(Noting), {}
    for loss in v_curve()[:64]:
        training.update()
        record[training.scheduler.last_epoch + 1] = noted(training.optimizer)
        training.scheduler.step(loss)
    file = io.BytesIO()
    torch.save(training.scheduler.state_dict(), file)
    file.seek(0)
    again = Training(Noting)
    again.update()  # states and what parameters have are there, as where the optimizer's are loaded
    again.scheduler.load_state_dict(torch.load(file, weights_only=True))
    until_rewound(again, record)
    assert again.scheduler.switch.rewound_to == 62
    its, then = noted(again.optimizer), record[62]
    for name in ("counts", "sums"):  # what there was besides when it was loaded may be of elsewhere
        now = {key: value for key, value in its.pop(name).items() if key in then[name]}
        assert now == dict(then.pop(name))
    assert_same(its, then)


class Mode(IntEnum):
    FIRST = 1
    LATER = 2


class Kind(str, Enum):
    PLAIN = "plain"


class Pair(NamedTuple):
    left: int
    mode: Mode


class OfItsOwnKinds(SGD):
    """What it notes down equals plain numbers, texts and lists, but PyTorch loads none of it."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.mode, self.kind, self.done, self.text = Mode.FIRST, Kind.PLAIN, np.bool_(False), np.str_("a")
        self.pair, self.modes, self.flags = Pair(0, Mode.FIRST), [Mode.FIRST], {"done": np.bool_(False)}
        self.by_kind, self.sums = {Kind.PLAIN: [torch.zeros(1)]}, Counter({None: 0})

    def step(self, closure=None):
        now = self.sums[None] = self.sums[None] + 1
        self.mode, self.done = Mode(1 + now % 2), np.bool_(now % 3 == 0)
        self.pair, self.modes = Pair(now, self.mode), [self.mode, Mode.LATER]
        self.flags["done"] = self.done
        self.by_kind[Kind.PLAIN][0] += 1
        return super().step(closure)


def of_its_own_kinds(optimizer):
    names = ("mode", "kind", "done", "text", "pair", "modes", "flags", "by_kind", "sums")
    return copy.deepcopy({name: getattr(optimizer, name) for name in names})


@pytest.mark.parametrize("loaded", [False, True], ids=["at once", "loaded"])
def test_numbers_and_texts_of_their_own_kinds_are_saved_as_plain_ones_and_go_back_as_they_were(loaded):
    training, record = Training(OfItsOwnKinds), {}
    for loss in v_curve():
        training.update()
        record[training.scheduler.last_epoch + 1] = of_its_own_kinds(training.optimizer)
        training.scheduler.step(loss)
        if loaded and training.scheduler.last_epoch == 64:
            file = io.BytesIO()
            torch.save(training.scheduler.state_dict(), file)
            file.seek(0)
            training.scheduler.load_state_dict(torch.load(file, weights_only=True))
        if training.scheduler.rewinds:
            break
    assert training.scheduler.switch.rewound_to == 62
    assert_same(of_its_own_kinds(training.optimizer), record[62])


class Listing(SGD):
    """As many buffers and ids as there are parameters."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.handles, self.names = [], ["first"]

    def add_param_group(self, group):
        super().add_param_group(group)
        of = [each for group in self.param_groups for each in group["params"]]
        self.__dict__.setdefault("buffers", []).extend(torch.zeros(1) for _ in of[len(self.buffers) :])
        self.ids = [id(each) for each in of]
        self.steps = [*getattr(self, "steps", ()), *[0] * (len(of) - len(getattr(self, "steps", ())))]
        self.sizes = np.array([each.numel() for each in of])

    def step(self, closure=None):
        for at in range(len(self.ids)):
            self.steps[at] += 1
        return super().step(closure)


def test_what_has_joined_with_a_parameter_stays():
    training, late = Training(Listing), nn.Parameter(torch.ones(2))
    parameters = len(training.optimizer.buffers)
    for step, loss in enumerate(v_curve()):
        if step == 65:
            training.optimizer.add_param_group({"params": [late]})
            training.optimizer.names.append("late")
            training.optimizer.handles.append(late.register_hook(lambda gradient: gradient))
        training.update()
        training.scheduler.step(loss)
        if training.scheduler.rewinds:
            break
    assert 60 < training.scheduler.switch.rewound_to < 65 < training.scheduler.switch.step
    optimizer = training.optimizer
    assert len(optimizer.buffers) == len(optimizer.ids) == len(optimizer.sizes) == parameters + 1
    back_to, switch = training.scheduler.switch.rewound_to, training.scheduler.switch.step
    assert optimizer.steps == [*[back_to] * parameters, switch - 65]
    training.update()
    assert optimizer.names == ["first", "late"]
    assert len(optimizer.handles) == 1


def test_ids_of_parameters_are_in_no_checkpoint():
    saved = Training(Listing)
    for loss in v_curve()[:64]:
        saved.update()
        saved.scheduler.step(loss)
    again = Training(Listing)
    ids = list(again.optimizer.ids)
    again.scheduler.load_state_dict(saved.scheduler.state_dict())
    for loss in v_curve()[64:70]:
        again.update()
        again.scheduler.step(loss)
    assert again.scheduler.rewinds
    assert again.optimizer.ids == ids


class Skipping(SGD):
    """As Opacus': what loads the data says ahead of time which calls of step() make no update."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self._skip_queue = []

    def step(self, closure=None):
        return None if self._skip_queue.pop(0) else super().step(closure)


@pytest.mark.parametrize("ahead", [1, 5])
def test_what_is_queued_for_the_steps_to_come_stays(ahead):
    training = Training(Skipping)
    queue, asked = training.optimizer._skip_queue, (at % 3 == 0 or at % 7 == 0 for at in count())
    for loss in v_curve():
        queue.extend(next(asked) for _ in range(ahead - len(queue)))
        training.update()
        before = list(queue)
        training.scheduler.step(loss)
        assert queue == before
    assert training.scheduler.rewinds


class Wrapper(SGD):
    """It holds the list of groups once more."""

    def __init__(self, params):
        super().__init__(params, lr=0.1)
        self.groups = self.param_groups
        self.by_group = OrderedDict(first=self.param_groups[0])


def test_a_setting_stays_whoever_holds_the_group_besides():
    training = Training(Wrapper)
    for step, loss in enumerate(v_curve()):
        if step == 64:
            training.optimizer.param_groups[0]["weight_decay"] = 0.1
        training.update()
        training.scheduler.step(loss)
        if training.scheduler.rewinds:
            break
    assert training.scheduler.switch.rewound_to < 64
    assert training.optimizer.param_groups[0]["weight_decay"] == 0.1


class Radius(SGD):
    """It is given a setting that PyTorch's have not, and keeps numbers beside it."""

    def __init__(self, params, radius=1.0):
        super().__init__(params, lr=0.1)
        for group in self.param_groups:
            group.update(radius=radius, count=0)

    def step(self, closure=None):
        for group in self.param_groups:
            group["count"] += 1
        return super().step(closure)


class Clipped(AdamW):
    """A setting of its own, which it keeps in an attribute."""

    def __init__(self, params, lr=1e-3, radius=1.0):
        super().__init__(params, lr=lr)
        self.radius = radius


@pytest.mark.parametrize("at", [30, 64])
@pytest.mark.parametrize(
    ("optimizer", "named"), [(Radius, "radius of parameter group 0"), (Clipped, "radius of the optimizer")]
)
def test_a_setting_of_an_optimizers_own_that_goes_back_is_told(at, optimizer, named, recwarn):
    training = Training(optimizer)
    kept = training.optimizer.param_groups[0] if optimizer is Radius else vars(training.optimizer)
    for step, loss in enumerate(v_curve()):
        if step == at:
            kept["radius"] = 0.5
        training.update()
        training.scheduler.step(loss)
    back_to = training.scheduler.switch.rewound_to
    assert at < training.scheduler.switch.step
    told = [str(each.message) for each in recwarn if "went back with the weights" in str(each.message)]
    assert len(told) == (at >= back_to)
    assert kept["radius"] == (1.0 if at >= back_to else 0.5)
    assert all(f"{named} went back" in each for each in told)


class History(SGD):
    """It notes something down at each step of a long run."""

    def __init__(self, params, length):
        super().__init__(params, lr=0.1)
        self.history = [0.5] * length


def test_a_long_history_costs_a_read_next_to_nothing():
    def seconds(length):
        training = Training(lambda params: History(params, length))
        begin = time.process_time()
        for loss in v_curve()[:60]:
            training.update()
            training.scheduler.step(loss)
        return time.process_time() - begin

    seconds(1)
    # Looked at one by one, in each of the passes of a read, they took a second a read.
    assert seconds(100_000) < 10 * seconds(1) + 5
