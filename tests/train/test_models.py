"""The networks: their sizes, what they compute, and how they are chosen."""

import inspect
import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

from autowu.errors import UserError
from autowu.integrations import torchvision_shim
from autowu.train import models
from autowu.train.models.drop_path import DropPath, rising
from autowu.train.models.gpt import GPT
from autowu.train.models.resnet import resnet18
from autowu.train.models.transformer import Block
from autowu.train.models.wide_resnet import wide_resnet_28_10
from autowu.train.settings.options import Settings

torchvision_shim.install()
timm = pytest.importorskip("timm")


def build(name, shape=(1, 8, 8), classes=10, **settings):
    kind = "text" if len(shape) == 1 else "images"
    data = "some.txt" if kind == "text" else "digits"
    task = SimpleNamespace(kind=kind, input_shape=shape, classes=classes)
    return models.build(Settings(model=name, data=data, **settings), task)


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("name", "shape", "classes", "parameters"),
    [
        ("resnet18-cifar", (3, 32, 32), 10, 11_173_962),
        ("wide-resnet-28-10", (3, 32, 32), 10, 36_479_194),
        ("wide-resnet-28-10", (3, 32, 32), 100, 36_536_884),
        ("resnet50", (3, 224, 224), 1000, 25_557_032),
        ("efficientnet_b0", (3, 224, 224), 1000, 5_288_548),
        ("vit_small_patch16_224", (3, 224, 224), 1000, 22_050_664),
    ],
)
def test_the_published_numbers_of_parameters(name, shape, classes, parameters):
    assert count(build(name, shape, classes)) == parameters


def test_the_numbers_of_parameters_of_the_small_ones():
    # Convolutions 9 (1·16 + 16·32 + 32·64), norms 2 (16 + 32 + 64), classifier 64·10 + 10.
    assert count(build("cnn")) == 9 * (16 + 512 + 2048) + 2 * 112 + 650
    # Layers 64·128 + 128·128, norms 2 (128 + 128), classifier 128·10 + 10.
    assert count(build("mlp")) == 64 * 128 + 128 * 128 + 512 + 1290

    def block(width):  # two norms; attention's 4 matrices and the MLP's 8, each with its biases
        return 4 * width + 12 * width**2 + (4 + 5) * width

    # Patches 4·64 + 64, positions 16·64, a norm, classifier.
    assert count(build("vit")) == 4 * block(64) + 320 + 1024 + 128 + 650
    # Tokens 65·48 (also the classifier), positions 32·48, a norm.
    assert count(build("gpt", (32,), 65)) == 2 * block(48) + 65 * 48 + 32 * 48 + 96


def test_the_size_of_a_transformer_can_be_chosen():
    def block(width):
        return 12 * width**2 + 13 * width

    # nanoGPT's size for Shakespeare: 65 characters, a context of 256.
    model = build("gpt", (256,), 65, blocks=6, width=384, heads=6)
    assert count(model) == 6 * block(384) + (65 + 256) * 384 + 2 * 384
    assert {module.heads for module in model.modules() if isinstance(module, Block)} == {6}
    assert count(build("vit", blocks=1, width=32)) == block(32) + 4 * 32 + 32 + 16 * 32 + 64 + 330


SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
SMALL = [
    ("cnn", {}),
    ("cnn", {"norm": "layer"}),
    ("mlp", {}),
    ("mlp", {"norm": "layer"}),
    ("vit", {"drop_path": 0.1}),
    ("resnet18-cifar", {"drop_path": 0.1}),
    ("test_resnet", {}),
]


@pytest.mark.parametrize(
    ("name", "settings", "shape"),
    [
        *((*chosen, shape) for chosen in SMALL for shape in SHAPES),
        ("test_vit", {"drop_path": 0.1}, (3, 32, 32)),
    ],
)
def test_logits_and_gradients(name, settings, shape):
    torch.manual_seed(0)
    model = build(name, shape, 7, **settings)
    logits = model(torch.randn(4, *shape))
    assert logits.shape == (4, 7)
    logits.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_the_norm_of_the_small_ones():
    for name in ("cnn", "mlp"):
        kinds = {
            norm: {type(module) for module in build(name, norm=norm).modules()} for norm in ("batch", "layer")
        }
        assert kinds["batch"] & {nn.BatchNorm1d, nn.BatchNorm2d}
        assert not kinds["layer"] & {nn.BatchNorm1d, nn.BatchNorm2d}
        assert kinds["layer"] & {nn.LayerNorm, nn.GroupNorm}


# --- what they compute --------------------------------------------------------------------------------


def copy_in_order(source, target):
    """Weights and buffers of one network into another that has them under other names, in the same order."""
    values = list(source.state_dict().values())
    names = list(target.state_dict())
    assert [value.shape for value in values] == [value.shape for value in target.state_dict().values()]
    target.load_state_dict(dict(zip(names, values, strict=True)))


def test_resnet18_is_timms_with_another_stem():
    torch.manual_seed(0)
    own = resnet18((3, 32, 32), 10)
    theirs = timm.create_model("resnet18", num_classes=10)
    theirs.conv1 = nn.Conv2d(3, 64, 3, padding=1, bias=False)
    theirs.maxpool = nn.Identity()
    copy_in_order(own, theirs)
    images = torch.randn(4, 3, 32, 32)
    for mode in (True, False):
        own.train(mode), theirs.train(mode)
        torch.testing.assert_close(own(images), theirs(images), rtol=1e-5, atol=1e-5)


def test_wide_resnet_has_its_shapes():
    model = wide_resnet_28_10((3, 32, 32), 10).eval()
    shapes = []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    assert shapes == [(160, 32, 32)] * 4 + [(320, 16, 16)] * 4 + [(640, 8, 8)] * 4
    # 6 · 4 + 4 = 28 convolutions: the stem, two in each block, and three shortcuts that change shapes.
    convolutions = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convolutions) == 1 + 24 + 3


@pytest.mark.parametrize("causal", [False, True])
def test_a_block_is_pytorchs_pre_norm_encoder_layer(causal):
    torch.manual_seed(0)
    own = Block(48, 4, causal=causal, drop_path=0.0)
    theirs = nn.TransformerEncoderLayer(48, 4, 192, 0.0, functional.gelu, batch_first=True, norm_first=True)
    pairs = {
        "norm1": own.attention_norm,
        "norm2": own.mlp_norm,
        "self_attn.out_proj": own.attention_out,
        "linear1": own.mlp_in,
        "linear2": own.mlp_out,
    }
    state = {
        f"{name}.{key}": value for name, layer in pairs.items() for key, value in layer.state_dict().items()
    }
    state["self_attn.in_proj_weight"] = own.query_key_value.weight
    state["self_attn.in_proj_bias"] = own.query_key_value.bias
    theirs.load_state_dict(state)
    x = torch.randn(3, 10, 48)
    mask = nn.Transformer.generate_square_subsequent_mask(10) if causal else None
    torch.testing.assert_close(own(x), theirs(x, mask, is_causal=causal), rtol=1e-5, atol=1e-6)


def test_gpt_does_not_see_the_future_and_starts_at_chance():
    torch.manual_seed(0)
    model = build("gpt", (16,), 11)
    tokens = torch.randint(11, (2, 16))
    logits = model(tokens)
    assert logits.shape == (2, 16, 11)
    changed = tokens.clone()
    changed[:, 9] = (changed[:, 9] + 1) % 11
    same = (model(changed) == logits).all(-1)
    assert same[:, :9].all()
    assert not same[:, 9:].any()
    # Of 15 · 64 random next tokens; the logits have a standard deviation of about 0.02 √48 = 0.14.
    tokens = torch.randint(11, (64, 16))
    loss = functional.cross_entropy(model(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    assert loss.item() == pytest.approx(math.log(11), abs=0.05)
    tokens, logits = tokens[:2], model(tokens[:2])
    assert model(tokens[:, :5]).shape == (2, 5, 11)  # a context is the most, not the only length
    torch.testing.assert_close(model(tokens[:, :5]), logits[:, :5])


def test_drop_path_leaves_samples_out_and_keeps_the_mean():
    torch.manual_seed(0)
    layer = DropPath(0.25)
    out = layer(torch.ones(40_000, 2, 3))
    assert (out == out[:, :1, :1]).all()  # a sample is dropped as a whole
    assert set(out[:, 0, 0].tolist()) == {0.0, torch.tensor(1 / 0.75).item()}
    # The mean of n values 4/3 b has a standard deviation of √(p / (1 - p) / n) = 0.003.
    assert out.mean().item() == pytest.approx(1, abs=4 * math.sqrt(0.25 / 0.75 / 40_000))
    x = torch.randn(5, 2)
    assert layer.eval()(x) is x
    assert rising(0.3, 4) == pytest.approx([0, 0.1, 0.2, 0.3])
    assert rising(0.3, 1) == [0]


def test_drop_path_reaches_every_model_that_has_it():
    for name, shape in [("vit", (1, 8, 8)), ("gpt", (8,)), ("resnet18-cifar", (1, 8, 8))]:
        model = build(name, shape, drop_path=0.2)
        assert max(module.p for module in model.modules() if isinstance(module, DropPath)) == 0.2
    theirs = build("test_vit", (3, 32, 32), drop_path=0.2)
    assert max(module.drop_prob for module in theirs.modules() if type(module).__name__ == "DropPath") == (
        pytest.approx(0.2)
    )


# --- how they are chosen ------------------------------------------------------------------------------


def test_a_model_of_timm_is_drawn_from_the_seed_as_timm_draws_it():
    torch.manual_seed(3)
    own = build("test_resnet", (1, 28, 28), 7)
    torch.manual_seed(3)
    theirs = timm.create_model("test_resnet", in_chans=1, num_classes=7)
    assert own.training
    state = theirs.state_dict()
    assert own.state_dict().keys() == state.keys()
    assert all(torch.equal(value, state[name]) for name, value in own.state_dict().items())


@pytest.mark.parametrize(
    ("name", "shape", "settings", "message"),
    [
        (
            "resnet51",
            (3, 32, 32),
            {},
            "--model must be cnn, mlp, vit, resnet18-cifar, wide-resnet-28-10, gpt or a",
        ),
        ("resnet51", (3, 32, 32), {}, "not 'resnet51'; did you mean .*resnet50"),
        ("wide-resnet", (3, 32, 32), {}, "did you mean .*wide-resnet-28-10"),
        (
            "vit_small_patch16_224",
            (1, 8, 8),
            {},
            "timm's vit_small_patch16_224 cannot be used for images of 1 × 8 × 8",
        ),
        ("resnet50", (3, 32, 32), {"norm": "layer"}, "--norm layer is for --model cnn or mlp, not resnet50"),
        ("vit", (1, 8, 8), {"norm": "layer"}, "--norm layer is for --model cnn or mlp, not vit"),
        ("cnn", (1, 8, 8), {"drop_path": 0.1}, "--drop-path is for models of residual blocks; cnn has none"),
        (
            "densenet121",
            (3, 32, 32),
            {"drop_path": 0.1},
            "--drop-path is for models .* timm's densenet121 has none",
        ),
        ("cnn", (8,), {}, "--model cnn is for images, but the data are a text: the model is gpt"),
        ("gpt", (1, 8, 8), {}, "--model gpt is for a text, but the data are images"),
        ("cnn", (1, 8, 8), {"width": 8}, "--width is for --model vit or gpt, not cnn"),
        ("resnet18-cifar", (3, 32, 32), {"blocks": 3}, "--blocks is for --model vit or gpt, not resnet18-"),
        ("resnet50", (3, 32, 32), {"heads": 2}, "--heads is for --model vit or gpt, not resnet50"),
        ("gpt", (8,), {"width": 50}, "--width must be a multiple of --heads, 4, not 50"),
        (
            "vit",
            (1, 7, 8),
            {},
            "--model vit needs images whose height and width have a common divisor above 1",
        ),
    ],
)
def test_what_does_not_go_together_is_said_in_one_line(name, shape, settings, message):
    with pytest.raises(UserError, match=message) as error:
        build(name, shape, **settings)
    assert "\n" not in str(error.value)


def test_the_default_model_is_of_the_datas_kind():
    assert isinstance(build(None), models.CNN)
    assert isinstance(build(None, (16,)), GPT)


def test_every_own_model_has_what_build_passes():
    for model in models.IMAGES.values():
        assert set(inspect.signature(model).parameters) - {"image_shape", "classes", "norm", "drop_path"} <= {
            "blocks",
            "width",
            "heads",
        }
