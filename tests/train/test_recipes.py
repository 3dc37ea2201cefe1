"""Recipes: the paper's hyperparameters, what overrides them, and what they need."""

from pathlib import Path

import pytest

from autowu import cli
from autowu.errors import UserError
from autowu.train import models
from autowu.train.data.order import Epochs
from autowu.train.dry_run.command import SETS, KnownSet
from autowu.train.settings import recipes_table
from autowu.train.settings.options import Settings
from autowu.train.settings.recipes import RECIPES, apply, over

PAPER = {
    # Section 3, Appendices A and B: batch sizes, epochs, η_base, label smoothing
    "cifar10-resnet18": ((256, 1024, 8192, 16384), 200, 0.001, 0.1),
    "cifar10-resnet18-lamb": ((256, 1024, 8192, 16384), 200, 0.01, 0.1),
    "cifar100-wrn28-10": ((256, 1024, 8192, 16384), 200, 0.001, 0.1),
    "cifar100-wrn28-10-lamb": ((256, 1024, 8192, 16384), 200, 0.01, 0.1),
    "imagenet-resnet50": ((1024, 4096, 16384, 32768), 120, 0.001, 0.0),
    "imagenet-efficientnet-b0": ((1024, 4096, 16384, 32768), 120, 0.001, 0.1),
    "imagenet-vit-s16": ((1024, 4096, 16384, 32768), 300, 0.0005, 0.1),
}


def settings(name, **given):
    """The settings of a recipe, with data where it needs them."""
    data = (
        {} if RECIPES[name].needs is None else {"data": "plays.txt" if name.endswith("gpt") else "imagenet"}
    )
    return Settings(**apply(name, data | given))


@pytest.mark.parametrize("name", PAPER)
def test_the_paper_s_hyperparameters(name):
    sizes, epochs, lr, smoothing = PAPER[name]
    assert RECIPES[name].batch_sizes == sizes
    chosen = settings(name, schedule="baseline")
    assert (chosen.batch_size, chosen.epochs, chosen.lr, chosen.label_smoothing) == (
        sizes[0],
        epochs,
        lr,
        smoothing,
    )
    assert chosen.weight_decay == 0.1
    assert chosen.optimizer == ("lamb" if name.endswith("lamb") else "adamp")
    assert chosen.warmup_epochs is None  # the baseline's own 5


def test_every_recipe_of_the_paper_is_checked():
    assert {name for name, recipe in RECIPES.items() if recipe.batch_sizes} == set(PAPER)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("schedule", ["autowu", "paper", "baseline", "prodigy"])
def test_every_recipe_makes_valid_settings_with_every_kind_of_schedule(name, schedule):
    chosen = settings(name, schedule=schedule)
    assert chosen.schedule == schedule
    assert (chosen.lr is not None) == (schedule == "baseline")


@pytest.mark.parametrize(
    "name", [name for name in RECIPES if not name.startswith("imagenet") and name != "shakespeare-gpt"]
)
def test_the_models_of_small_recipes_exist(name):
    chosen = settings(name)
    sets = SETS | {"digits": (1442, 355, (1, 8, 8), 10)}
    train_size, *about = sets[chosen.data]
    task = KnownSet(chosen.data, Epochs(train_size, chosen.batch_size), *about)
    model = models.build(chosen, task)
    assert sum(parameter.numel() for parameter in model.parameters()) > 1000


def test_the_models_of_large_recipes_have_the_parameters_that_are_published():
    sizes = {"imagenet-resnet50": 25.6, "imagenet-efficientnet-b0": 5.3, "imagenet-vit-s16": 22.1}  # millions
    for name, millions in sizes.items():
        task = KnownSet("imagenet", Epochs(1_281_167, 1024), 50_000, (3, 224, 224), 1000)
        model = models.build(settings(name), task)
        assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, abs=0.06)


def test_five_epochs_leave_room_for_the_baseline_s_warm_up():
    assert settings("fashion-mnist-cnn", schedule="baseline").warmup_epochs == 1
    assert settings("fashion-mnist-cnn", schedule="wsd", warmup_steps=7).warmup_epochs is None
    for schedule in ("autowu", "constant", "one-cycle", "prodigy"):
        assert settings("fashion-mnist-cnn", schedule=schedule).warmup_epochs is None


def test_what_is_given_overrides_a_recipe():
    chosen = settings("cifar10-resnet18", batch_size=8192, label_smoothing=0.0, data="other.npz")
    assert (chosen.batch_size, chosen.label_smoothing, chosen.data) == (8192, 0.0, "other.npz")
    assert (chosen.epochs, chosen.augment) == (200, "cifar")


def test_the_length_in_updates_replaces_that_in_epochs():
    chosen = settings("cifar10-resnet18", steps=100)
    assert (chosen.steps, chosen.epochs) == (100, None)


def test_another_optimizer_has_its_own_lr_and_weight_decay():
    chosen = settings("cifar10-resnet18", schedule="baseline", optimizer="sgd")
    assert (chosen.lr, chosen.weight_decay) == (None, None)
    assert settings("cifar10-resnet18", schedule="baseline", optimizer="adamp").lr == 0.001


@pytest.mark.parametrize(
    ("name", "wanted"), [("imagenet-vit-s16", "a DIR with ImageNet's"), ("shakespeare-gpt", "a FILE.txt")]
)
def test_what_a_recipe_needs_is_named(name, wanted):
    with pytest.raises(UserError, match=f"--recipe {name} needs --data: {wanted}"):
        apply(name, {})


def test_the_stronger_setting_wins_and_fields_are_merged():
    assert over({"epochs": 3}, {"steps": 10, "seed": 1}) == {"epochs": 3, "seed": 1}
    assert over({"epochs": None}, {"steps": 10}) == {"epochs": None, "steps": 10}
    assert over({"warmup_steps": 0}, {"warmup_epochs": 5}) == {"warmup_steps": 0}  # which is given, too
    assert over({"until_plateau": False}, {"epochs": 5}) == {"until_plateau": False, "epochs": 5}
    assert over({"set": {"a": 1}}, {"set": {"a": 2, "b": 3}})["set"] == {"a": 1, "b": 3}


def test_the_page_is_up_to_date():
    page = Path(__file__).parents[2] / "docs" / "recipes.md"
    assert page.read_text(encoding="utf-8") == recipes_table.markdown(), (
        "run: python -m autowu.train.settings.recipes_table > docs/recipes.md"
    )


def test_the_table_lists_every_recipe_at_any_width(capsys):
    assert cli.main(["train", "--list-recipes"]) == 0
    piped = capsys.readouterr().out.splitlines()
    assert max(map(len, piped)) <= 80
    table = recipes_table.text(None).splitlines()
    assert [line.split()[0] for line in table[1 : 1 + len(RECIPES)]] == list(RECIPES)
    narrow = recipes_table.text(80).splitlines()
    assert max(map(len, narrow)) <= 80
    assert [line for line in narrow if line in RECIPES] == list(RECIPES)
    for value in ("η_base 0.0005", "length 300 epochs", "1024 4096 16384 32768", "drop path 0.1"):
        assert value in " ".join(" ".join(narrow).split())
    for value in ("ρ_w 0.5", "n_test 5", "confidence 0.95", "patience 3", "length-scale 0.2", "β₂ 0.999"):
        assert value in recipes_table.text(None)
