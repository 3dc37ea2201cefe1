"""The command ``autowu``: three subcommands, each in a module of its own, and one way to report errors."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final, NoReturn

from autowu import __version__
from autowu.errors import UserError

# Each module gives `add_arguments(parser)` and `run(args) -> int`, and is imported only if it is asked for.
COMMANDS: Final = {
    "train": ("autowu.train.command", "train a model, with the learning rate set by AutoWU"),
    "replay": ("autowu.offline.command", "what AutoWU would have done on a recorded loss curve"),
    "report": ("autowu.report", "a page with pictures of runs"),
    "reproduce": ("autowu.reproduce", "the tables and figures of the paper"),
}

EXTRAS: Final = {
    "torch": "train",
    "timm": "train",
    "rich": "train",
    "lightning_fabric": "train",
    "torchvision": "train",
    "yaml": "train",
    "schedulefree": "peers",
    "prodigyopt": "peers",
    "dadaptation": "peers",
    "mechanic_pytorch": "peers",
    "dog": "peers",
    "momo": "peers",
    "GeN": "peers",
    "torch_lr_finder": "peers",
    "statopt": "peers",
    "transformers": "peers",
    "scipy": "peers",
    "sklearn": "peers",
    "plotly": "report",
    "plotext": "report",
    "matplotlib": "report",
    "tensorboard": "tensorboard",
    "submitit": "cluster",
}
"""The extra that brings a module."""


class _Parser(argparse.ArgumentParser):
    """A parser that leaves the reporting of errors to :func:`main`."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} (see `{self.prog} --help`)")


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``autowu`` with ``argv``; the exit status: 0, or 2 where the user can mend what is wrong."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal that lacks a character still gets the rest
    arguments = sys.argv[1:] if argv is None else list(argv)
    try:
        status = _run(arguments)
        sys.stdout.flush()  # so that a closed pipe is met here
        return status
    except UserError as error:
        return _fail(str(error))
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module not in EXTRAS:
            raise
        return _fail(f"{module} cannot be imported: pip install 'autowu[{EXTRAS[module]}]' ({error})")
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells have it
    except BrokenPipeError:
        _drop_output()
        return 141  # 128 + SIGPIPE: the reader, such as `head`, has had enough
    except OSError as error:
        _drop_output()
        return _fail(str(error))


def _run(arguments: list[str]) -> int:
    parser = _Parser(
        prog="autowu", description="Sets the learning rate of neural-network training by itself."
    )
    parser.add_argument("--version", action="version", version=f"autowu {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, purpose) in COMMANDS.items():
        command = commands.add_parser(name, help=purpose)
        if name == chosen:
            import_module(module).add_arguments(command)
    args = parser.parse_args(arguments)
    args.pages = _pages  # the command of a room below may not import them
    return import_module(COMMANDS[args.command][0]).run(args)


def _pages() -> Any:
    """What `replay -o` writes with: heavier than the rest of it."""
    return import_module("autowu.report.replay_page")


def _fail(message: str) -> int:
    from autowu.text import printable  # a file may be called anything

    print(f"autowu: error: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    return 2


def _drop_output() -> None:
    """Let go of output that cannot be written, or Python would complain about it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
