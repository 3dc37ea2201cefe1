"""What cannot be copied or put back is seen when the snapshot is taken, named, and ends no run."""

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

import autowu
from autowu.integrations.torch import snapshot
from integrations.torch.training import STEPS, v_curve


def run(model, optimizer, *, frozen=()):
    """A run to its end; the weights at the snapshot that it went back to, and those right after."""
    made = autowu.AutoWU(optimizer, STEPS, model=model, watch=None)  # the losses rise, whatever the weights
    kept, back = {}, None
    for step, loss in enumerate(v_curve(), 1):
        with torch.no_grad():
            for group in optimizer.param_groups:
                for parameter in group["params"]:
                    if parameter.requires_grad:
                        parameter.grad = torch.full_like(parameter, 0.1)
        optimizer.step()
        made.step(loss)
        if made.switch and back is None:
            back = trained(model)
        if made._session.state.snapshot_step == step:
            kept = trained(model)
    assert made.switch.rewound_to is not None
    return made, kept, back


def trained(model):
    return {
        name: p.detach().clone() for name, p in model.named_parameters() if p.requires_grad and not p.is_meta
    }


def with_buffer(buffer):
    model = nn.Linear(3, 2)
    model.register_buffer("extra", buffer)
    return model


def expanded():
    return with_buffer(torch.eye(4).expand(3, 4, 4))


def overlapping():
    return with_buffer(torch.arange(5.0).as_strided((3, 3), (1, 1)))


def conjugate():
    return with_buffer(torch.ones(3, dtype=torch.complex64).conj())


def negative():
    return with_buffer(torch.ones(3, dtype=torch.complex64).conj().imag)


def nested():
    return with_buffer(torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=torch.jagged))


def inference():
    with torch.inference_mode():
        buffer = torch.zeros(3)
    return with_buffer(buffer)


def meta():
    return with_buffer(torch.zeros(3, device="meta"))


def frozen(dtype):
    def make():
        model = nn.Linear(3, 2)
        model.register_parameter("table", nn.Parameter(torch.ones(4).to(dtype), requires_grad=False))
        return model

    return make


def frozen_meta():
    model = nn.Linear(3, 2)
    model.register_parameter("table", nn.Parameter(torch.ones(4, device="meta"), requires_grad=False))
    return model


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (expanded, None),
        (overlapping, "buffer extra cannot be rewound: buffer extra has elements that share their memory"),
        (conjugate, None),
        (negative, None),
        (nested, "buffer extra cannot be rewound: buffer extra is nested"),
        (inference, None),
        (meta, "buffer extra cannot be rewound: buffer extra is on the meta device"),
        (frozen(torch.float8_e4m3fn), None),
        (frozen(torch.int8), None),
        (frozen_meta, None),
    ],
)
@pytest.mark.parametrize("optimizer", [AdamW, lambda p: SGD(p, lr=0.1, momentum=0.9)])
def test_the_rest_goes_back_and_the_run_goes_on(make, told, optimizer, recwarn):
    model = make()
    _, kept, back = run(model, optimizer(model.parameters()))
    assert kept.keys() == back.keys()
    assert all(torch.equal(kept[name], back[name]) for name in kept)
    messages = [str(each.message) for each in recwarn]
    assert [told in message for message in messages] == [True] * (told is not None)


def test_an_expanded_buffer_goes_back_too():
    model = with_buffer(torch.zeros(1, 4).expand(3, 4))
    made = autowu.AutoWU(AdamW(model.parameters()), STEPS, model=model)
    for step, loss in enumerate(v_curve(), 1):
        model.extra[:1].fill_(step)
        made.step(loss)
        if made.switch:
            break
    assert model.extra.eq(made.switch.rewound_to).all()


def test_a_lazy_layer_takes_part_from_its_first_forward_pass_on():
    model = nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2))
    made = autowu.AutoWU(SGD(model.parameters(), lr=0.1), STEPS, model=model)
    model(torch.zeros(1, 5))
    weight = model[0].weight
    for step, loss in enumerate(v_curve(), 1):
        with torch.no_grad():
            weight.fill_(step)
        made.step(loss)
        if made.switch:
            break
    assert weight.eq(made.switch.rewound_to).all()


def test_a_sparse_gradient_and_a_sparse_state_are_no_hindrance():
    model = nn.Embedding(5, 3, sparse=True)
    optimizer = torch.optim.SparseAdam(model.parameters())
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    kept = None
    for step, loss in enumerate(v_curve(), 1):
        optimizer.zero_grad()
        model(torch.tensor([step % 5])).sum().backward()
        optimizer.step()
        made.step(loss)
        if made.switch:
            break
        if made._session.state.snapshot_step == step:
            kept = model.weight.detach().clone()
    assert torch.equal(model.weight, kept)


class Queue(nn.Module):
    """A buffer that grows, as a queue of examples."""

    def __init__(self):
        super().__init__()
        self.lin = nn.Linear(3, 2)
        self.register_buffer("queue", torch.zeros(1))


def test_a_buffer_that_has_grown_since_leaves_all_as_it_is():
    model = Queue()
    made = autowu.AutoWU(AdamW(model.parameters()), STEPS, model=model)

    def train():
        for loss in v_curve():
            model.queue = torch.cat([model.queue, torch.zeros(1)])
            made.step(loss)

    with pytest.warns(UserWarning, match=r"stay as they are: buffer queue has shape \(\d+,\) now, and had"):
        train()
    assert made.switch.rewound_to is None


def test_a_cache_that_has_grown_since_stays_and_the_rest_goes_back(recwarn):
    """As the tables of rotary embeddings, which are made anew for longer sequences."""
    model = nn.Sequential(nn.Linear(3, 2))
    made = autowu.AutoWU(SGD(model.parameters(), lr=0.1), STEPS, model=model)
    for step, loss in enumerate(v_curve(), 1):
        model[0].register_buffer("cosines", torch.zeros(step), persistent=False)
        with torch.no_grad():
            model[0].weight.fill_(step)
        made.step(loss)
        if made.switch:
            break
    assert model[0].weight.eq(made.switch.rewound_to).all()
    assert model[0].cosines.shape == (made.switch.step,)
    assert [str(each.message) for each in recwarn] == []


class Coded(torch.Tensor):
    """A tensor subclass that can be copied, and next to nothing else, as torchao's for training."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function.__name__ in ("abs", "equal", "_foreach_norm", "isfinite"):
            raise NotImplementedError(function.__name__)
        return super().__torch_function__(function, types, args, kwargs or {})


def test_weights_of_a_type_that_cannot_be_judged_are_copied(recwarn):
    model = nn.Linear(3, 2)
    model.weight = nn.Parameter(torch.ones(2, 3).as_subclass(Coded))
    made = autowu.AutoWU(SGD(model.parameters(), lr=0.1, momentum=0.9), STEPS, model=model)
    for step, loss in enumerate(v_curve(), 1):
        with torch.no_grad():
            model.weight.fill_(step)
        made.step(loss)
        if made.switch:
            break
    assert model.weight.as_subclass(torch.Tensor).eq(made.switch.rewound_to).all()
    assert not [each for each in recwarn if "cannot be rewound" in str(each.message)]


class Eight(torch.Tensor):
    """Two tensors as one that cannot be cloned, as torchao's state of eight bits."""

    @staticmethod
    def __new__(cls, codes, scale):
        return torch.Tensor._make_wrapper_subclass(cls, codes.shape)

    def __init__(self, codes, scale):
        self.codes, self.scale = codes, scale

    def __tensor_flatten__(self):
        return ["codes", "scale"], None

    @classmethod
    def __tensor_unflatten__(cls, parts, context, size, stride):
        return cls(parts["codes"], parts["scale"])

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        if function is torch.ops.aten.detach.default:
            return cls(args[0].codes, args[0].scale)
        if function is torch.ops.aten.copy_.default:
            args[0].codes.copy_(args[1].codes)
            args[0].scale.copy_(args[1].scale)
            return args[0]
        raise NotImplementedError(function)


@pytest.mark.parametrize("loaded", [False, True], ids=["at once", "loaded"])
def test_state_that_cannot_be_cloned_goes_back_by_the_tensors_that_it_is_made_of(loaded):
    (weight,) = model = nn.ParameterList([torch.zeros(3)])
    optimizer = SGD(model, lr=0.1)
    made = autowu.AutoWU(optimizer, STEPS, model=model)
    optimizer.state[weight]["average"] = average = Eight(torch.zeros(3, dtype=torch.int8), torch.zeros(1))
    for step, loss in enumerate(v_curve(), 1):
        average.codes.fill_(step % 100)
        average.scale.fill_(step)
        made.step(loss)
        if step == 64 and loaded:
            made.load_state_dict(made.state_dict())
        if made.switch:
            break
    assert optimizer.state[weight]["average"] is average
    assert average.codes.eq(made.switch.rewound_to).all()
    assert average.scale.eq(made.switch.rewound_to).all()


class Quantised(AdamW):
    """A state of lists and of objects, as eight-bit and shampoo-like optimizers keep."""

    def step(self, closure=None):
        super().step()
        for group in self.param_groups:
            for parameter in group["params"]:
                history = self.state[parameter].setdefault("history", [])
                history.append(parameter.detach().clone())
                self.state[parameter]["handle"] = _Handle()


class _Handle:
    def __deepcopy__(self, memo):
        raise TypeError("cannot be copied")


def test_a_state_that_cannot_be_copied_is_named_and_lists_of_tensors_go_back(recwarn):
    model = nn.Linear(3, 2)
    optimizer = Quantised(model.parameters())
    made, kept, back = run(model, optimizer)
    assert all(torch.equal(kept[name], back[name]) for name in kept)
    assert len(optimizer.state[model.weight]["history"]) == STEPS - made.switch.step + made.switch.rewound_to
    (told,) = [str(each.message) for each in recwarn]
    assert "weight / handle of the optimizer, bias / handle of the optimizer cannot be rewound" in told
    assert "cannot be copied (TypeError)" in told


class Sealed(torch.Tensor):
    """Not to be copied, nor made of tensors that are."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.clone, torch.Tensor.to):
            raise NotImplementedError("sealed")
        return super().__torch_function__(function, types, args, kwargs or {})


def test_of_a_state_that_has_no_parts_the_error_of_its_copy_is_told(recwarn):
    model = nn.Linear(3, 2)
    optimizer = SGD(model.parameters(), momentum=0.9)
    optimizer.state[model.weight]["sealed"] = torch.ones(3).as_subclass(Sealed)
    _, kept, back = run(model, optimizer)
    assert all(torch.equal(kept[name], back[name]) for name in kept)
    (told,) = [str(each.message) for each in recwarn]
    assert "cannot be copied (NotImplementedError)" in told


@pytest.mark.parametrize("call", [1, 4])
def test_without_room_beside_the_weights_the_whole_copy_is_kept_in_host_memory(monkeypatch, call):
    left, clone_of = [call], snapshot.clone_of

    def full(tensor, device):
        if device is None:
            left[0] -= 1
            if left[0] == 0:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return clone_of(tensor, device)

    monkeypatch.setattr(snapshot, "clone_of", full)
    model = nn.Linear(3, 2)
    with pytest.warns(UserWarning, match="no room for the copy") as caught:
        made, kept, back = run(model, AdamW(model.parameters(), lr=1e-3))
    assert len(caught) == 1
    assert made._snapshot._device == torch.device("cpu")
    assert all(torch.equal(kept[name], back[name]) for name in kept)


def test_weights_whose_values_are_kept_elsewhere_at_the_step_are_told():
    """As loops do that offload them: only the optimizer's state would go back."""
    model = nn.Linear(3, 2)
    optimizer = AdamW(model.parameters())
    made = autowu.AutoWU(optimizer, STEPS, model=model, watch=None)

    def train():
        for loss in v_curve():
            for parameter in model.parameters():
                parameter.grad = torch.full_like(parameter, 0.1)
            optimizer.step()
            elsewhere = [parameter.data for parameter in model.parameters()]
            for parameter in model.parameters():
                parameter.data = torch.empty(0)
            made.step(loss)
            for parameter, data in zip(model.parameters(), elsewhere, strict=True):
                parameter.data = data

    with pytest.warns(UserWarning, match="has no elements at step.* but its state") as told:
        train()
    assert len(told) == 2  # at the first copy, and where it were to go back
    assert made.rewinds == 0
