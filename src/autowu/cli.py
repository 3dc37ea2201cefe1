"""The command ``autowu``: three subcommands, each in a module of its own, and one way to report errors."""

from __future__ import annotations

import argparse
import io
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import Any, Final

from autowu import __version__
from autowu.arguments import Parser, meant
from autowu.errors import UserError
from autowu.extras import MODULES, install
from autowu.site import page as address

# Each module gives `add_arguments(parser)` and `run(args) -> int`, and is imported only if it is asked for.
COMMANDS: Final = {
    "train": ("autowu.train.command", "train a model, with the learning rate set by AutoWU", "train"),
    "replay": ("autowu.offline.command", "what AutoWU would have done on a recorded loss curve", "report"),
    "report": ("autowu.report", "a page with pictures of runs", "report"),
    "reproduce": ("autowu.reproduce", "the tables and figures of the paper", "reproduction"),
}
"""Each command's module, its purpose, and the page that says more of it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``autowu`` with ``argv``; the exit status: 0, or 2 where the user can mend what is wrong."""
    for name in ("stdout", "stderr"):  # Python has None for one that the shell has closed
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, open to the end
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(
                errors="backslashreplace"
            )  # a terminal that lacks a character still gets the rest
    arguments = sys.argv[1:] if argv is None else list(argv)
    before, warnings.formatwarning = warnings.formatwarning, _warning
    try:
        status = _run(arguments)
        sys.stdout.flush()  # so that a closed pipe is met here
        return status
    except UserError as error:
        return _fail(str(error))
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module not in MODULES:
            raise
        return _fail(f"{module} cannot be imported ({error}): {install(MODULES[module])}")
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as shells have it
    except BrokenPipeError:
        _drop_output()
        return 141  # 128 + SIGPIPE: the reader, such as `head`, has had enough
    except OSError as error:
        _drop_output()
        return _fail(str(error).removeprefix(f"[Errno {error.errno}] "))
    finally:
        warnings.formatwarning = before


def _run(arguments: list[str]) -> int:
    parser = Parser(
        prog="autowu",
        description="Sets the learning rate of neural-network training by itself.",
        epilog=f"`autowu COMMAND --help` says what a command takes. A tutorial: {address('tutorial')}",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action="version", version=f"autowu {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    chosen = next((word for word in arguments if not word.startswith("-")), None)
    for name, (module, purpose, page) in COMMANDS.items():
        told = f"{purpose[0].upper()}{purpose[1:]}."  # unless the command says more
        command = commands.add_parser(name, help=purpose, description=told, epilog=f"More: {address(page)}")
        if name == chosen:
            import_module(module).add_arguments(command)
    if not arguments:
        parser.print_help()
        return 0
    args, unknown = parser.parse_known_args(arguments)
    if unknown:  # argparse would point to the help that lists the commands alone
        command = commands.choices[args.command]
        hint = meant(unknown[0].partition("=")[0], command.flags())
        command.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")
    args.pages = _pages  # the command of a room below may not import them
    return import_module(COMMANDS[args.command][0]).run(args)


class _Help(argparse.HelpFormatter):
    """Help in which the purpose of each command stands beside it: argparse forgets that they are indented."""

    def add_argument(self, action: argparse.Action) -> None:
        super().add_argument(action)
        indent = self._current_indent + self._indent_increment
        names = [len(each.dest) for each in self._iter_indented_subactions(action)]
        self._action_max_length = max([self._action_max_length, *(indent + name for name in names)])


def _pages() -> Any:
    """What `replay -o` writes with: heavier than the rest of it."""
    return import_module("autowu.report.replay_page")


def _fail(message: str) -> int:
    from autowu.text import printable  # a file may be called anything

    print(f"autowu: error: {printable(' '.join(message.splitlines()))}", file=sys.stderr)
    return 2


def _warning(message: Warning | str, *_where: object, **_line: object) -> str:
    """What is said of a warning: not where in the package it was raised, which helps no user."""
    from autowu.text import columns, printable, wrapped

    text = f"autowu: warning: {printable(' '.join(str(message).split()))}"
    return "\n".join(wrapped(text, columns(), indent=2)) + "\n"


def _drop_output() -> None:
    """Let go of output that cannot be written, or Python would complain about it at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
