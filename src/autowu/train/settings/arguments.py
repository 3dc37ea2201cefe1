"""The flags of ``autowu train``; :mod:`sources` makes settings of them. Imports no framework."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Final, get_args

from autowu.config import Decay, Growth
from autowu.train.settings import options, recipes, values
from autowu.train.settings.options import SCHEDULES, Settings

NAMES: Final = tuple(field.name for field in fields(Settings))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the flags of ``autowu train``. A flag that is not given leaves no attribute."""
    parser.description = "Train a model, with the learning rate set by AutoWU, by a schedule or by a peer."
    parser.usage = f"{parser.prog} [--recipe NAME] [--data DATA] [--schedule NAME] [OPTION …]"
    parser.argument_default = argparse.SUPPRESS
    _add_task(parser)
    _add_training(parser)
    _add_optimizer(parser)
    _add_schedule(parser)
    _add_machine(parser)
    _add_run(parser)


def _add_task(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("task")
    group.add_argument(
        "--recipe",
        choices=tuple(recipes.RECIPES),
        metavar="NAME",
        help="settings under one name, the paper's among them; --list-recipes shows them",
    )
    group.add_argument(
        "--data",
        metavar="NAME|FILE|DIR",
        help="digits (built in), fashion-mnist, cifar10 or cifar100 (downloaded once), FILE.npz in Keras' "
        "layout, DIR with a folder of images for each class in train/ and val/, or FILE.txt for a language "
        f"model (default: {_default('data')})",
    )
    group.add_argument(
        "--data-dir", metavar="DIR", help=f"where downloaded sets are kept (default: {_default('data_dir')})"
    )
    group.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help=f"processes that decode images, for a DIR (default: {_default('workers')})",
    )
    group.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help=f"pixels, for a DIR (default: {_default('image_size')})",
    )
    group.add_argument(
        "--tokens",
        choices=get_args(options.Tokens),
        help=f"of a text: its characters, or its bytes (default: {_default('tokens')})",
    )
    group.add_argument(
        "--context",
        type=int,
        metavar="N",
        help=f"tokens that a model of text sees (default: {_default('context')})",
    )
    group.add_argument(
        "--augment",
        choices=get_args(options.Augment),
        help="crop-flip; cifar: AutoAugment, crop, flip and Cutout; imagenet: random crop and flip; "
        "imagenet-pca: and AlexNet's colour noise; deit: RandAugment, mixup, CutMix, random erasing and "
        f"repeated augmentation (default: {_default('augment')})",
    )
    group.add_argument(
        "--label-smoothing",
        type=float,
        metavar="X",
        help=f"in [0, 1) (default: {_default('label_smoothing')})",
    )
    group.add_argument(
        "--model",
        metavar="NAME",
        help="cnn, mlp, vit, resnet18-cifar, wide-resnet-28-10, gpt, or any model of timm, such as resnet50 "
        "(default: cnn; for a text: gpt)",
    )
    group.add_argument(
        "--norm",
        choices=get_args(options.Norm),
        help=f"BatchNorm or LayerNorm, in cnn and mlp (default: {_default('norm')})",
    )
    group.add_argument(
        "--drop-path",
        type=float,
        metavar="X",
        help=f"stochastic depth: how often the last block is left out (default: {_default('drop_path')})",
    )
    group.add_argument(
        "--blocks", type=int, metavar="N", help="depth of vit (default: 4) and gpt (default: 2)"
    )
    group.add_argument(
        "--width",
        type=int,
        metavar="N",
        help="of vit (default: 64) and gpt (default: 48), a multiple of heads",
    )
    group.add_argument("--heads", type=int, metavar="N", help="of the attention of vit and gpt (default: 4)")


def _add_training(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("training")
    group.add_argument("--epochs", type=int, metavar="N", help=f"of images (default: {options.EPOCHS})")
    group.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help="updates, instead of epochs (default for a text: once through it)",
    )
    group.add_argument(
        "--until-plateau",
        action="store_true",
        help="instead of a length: train until the loss has stopped falling at the peak LR, then let that"
        " fall to zero in a last fifth of the run (AutoWU alone)",
    )
    group.add_argument(
        "--max-time",
        type=float,
        metavar="MIN",
        help="minutes in which the command is to be done: the run is shortened to what they do for, and its"
        " LR falls to zero in time (AutoWU alone)",
    )
    group.add_argument(
        "--batch-size",
        type=int,
        metavar="B",
        help="samples in an update, over all processes; see --keep-last-batch "
        f"(default: {_default('batch_size')})",
    )
    group.add_argument(
        "--micro-batch-size",
        type=int,
        metavar="N",
        help="samples that a process takes at a time, where its share of the batch does not fit in memory",
    )
    group.add_argument(
        "--keep-last-batch",
        action=argparse.BooleanOptionalAction,
        help="what is left over at an epoch's end is one more update, of fewer images (default: no)",
    )
    group.add_argument("--clip-norm", type=float, metavar="X", help="clip the gradient's norm (default: no)")
    group.add_argument(
        "--seed",
        type=int,
        metavar="N",
        help=f"of weights, data, augmentation, dropout and AutoWU's subsets (default: {_default('seed')})",
    )
    group.add_argument(
        "--eval-every",
        type=int,
        metavar="N",
        help="epochs between evaluations, or for a text updates (default: 1; for a text: 20 evaluations)",
    )


def _add_optimizer(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("optimizer")
    group.add_argument(
        "--optimizer",
        choices=get_args(options.OptimizerName),
        help="(default: adamp; a peer's own)",
    )
    group.add_argument(
        "--weight-decay", type=float, metavar="X", help="(default: 0.1; sgd: 0.0005; a peer's own)"
    )
    group.add_argument(
        "--weight-decay-on",
        choices=get_args(options.WeightDecayOn),
        help=f"matrices leaves out biases and the gains of norms (default: {_default('weight_decay_on')})",
    )
    group.add_argument(
        "--lamb-clip",
        action=argparse.BooleanOptionalAction,
        help="clip the gradient's norm at 1 in lamb, as timm does (default: yes)",
    )


def _add_schedule(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("schedule")
    group.add_argument(
        "--schedule",
        choices=SCHEDULES,
        metavar="NAME",
        help="autowu: the default preset; paper: AutoWU exactly as in the paper; baseline: the paper's, a "
        "linear warm-up to lr × √(batch size / 256), then a cosine; one-cycle, constant, wsd: PyTorch's and "
        f"warm-up-stable-decay; peers: {', '.join(get_args(options.Peer))} (default: {_default('schedule')})",
    )
    group.add_argument(
        "--growth", choices=get_args(Growth), help="of AutoWU's warm-up (default: the preset's)"
    )
    group.add_argument("--decay", choices=get_args(Decay), help="of AutoWU's LR (default: the preset's)")
    group.add_argument(
        "--set",
        action=values.SetField,
        metavar="FIELD=VALUE",
        help="any other field of autowu.Config, such as patience=5; may be repeated",
    )
    group.add_argument(
        "--lr",
        type=float,
        metavar="X",
        help="for schedules that do not find it (default: adamp and adamw: 0.001; lamb: 0.01; sgd: 0.1, at "
        "batch size 256; a peer's own)",
    )
    group.add_argument("--warmup-epochs", type=int, metavar="N", help="of the schedules that have a warm-up")
    group.add_argument("--warmup-steps", type=int, metavar="N", help="the same, in updates")


def _add_machine(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("machine")
    group.add_argument(
        "--accelerator",
        choices=get_args(options.Accelerator),
        help="auto: a GPU if there is one (default: auto)",
    )
    group.add_argument("--devices", type=int, metavar="N", help="processes on each machine (default: 1)")
    group.add_argument("--nodes", type=int, metavar="N", help="machines (default: 1)")
    group.add_argument(
        "--strategy",
        choices=get_args(options.Strategy),
        help="ddp: each process has the whole model; fsdp: a part of it (default: ddp, if several)",
    )
    group.add_argument(
        "--precision",
        choices=get_args(options.Precision),
        help=f"(default: {_default('precision')})",
    )
    group.add_argument("--compile", action=argparse.BooleanOptionalAction, help="the model, by torch.compile")
    group.add_argument(
        "--channels-last", action=argparse.BooleanOptionalAction, help="memory layout of images and kernels"
    )
    group.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="CPU threads of each process; a result can depend on their number in its last digits "
        f"(default: {_default('threads')})",
    )


def _add_run(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("run")
    group.add_argument(
        "--config", metavar="FILE.yaml", help="settings by the names of these flags; flags override it"
    )
    group.add_argument(
        "--out",
        metavar="DIR",
        help="the run folder, for run.json, log.jsonl and checkpoints (default: runs/DATA-SCHEDULE)",
    )
    group.add_argument(
        "--resume",
        action="store_true",
        help="go on from the newest checkpoint in --out, with that run's settings; without one, begin",
    )
    group.add_argument(
        "--checkpoint-every",
        type=int,
        metavar="N",
        help="updates (default: at evaluations, but not more often than every 30 seconds, and at the end)",
    )
    group.add_argument(
        "--logger",
        type=values.loggers,
        metavar="NAME[,NAME]",
        help="also log to tensorboard, wandb or mlflow (default: none)",
    )
    group.add_argument(
        "--dry-run",
        action="store_true",
        help="print what would run, its steps and its memory, and stop",
    )
    group.add_argument("--list-recipes", action="store_true", help="print the recipes, and stop")


def _default(name: str) -> str:
    return str(getattr(Settings, name))
