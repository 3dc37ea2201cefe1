"""Where the settings of a run come from. Imports no framework.

From the weakest to the strongest: the defaults of :class:`~.options.Settings`, those of the run that is
resumed, a recipe, a file given with ``--config``, and the flags.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from dataclasses import fields, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final, NoReturn, cast

from autowu.arguments import Parser, meant
from autowu.errors import UserError
from autowu.train.settings import options, recipes
from autowu.train.settings.arguments import add_arguments
from autowu.train.settings.options import Settings, flag

NAMES: Final = tuple(field.name for field in fields(Settings))
SWITCHES: Final = tuple(name for name in NAMES if isinstance(getattr(Settings, name, None), bool))


def settings_from(args: argparse.Namespace) -> Settings:
    """The settings that ``args`` ask for, with those of the recipe, the file and the resumed run.

    Raises:
        UserError: a value is out of range, or a file cannot be read or has a setting that does not exist.
    """
    given = dict(vars(args))
    merged = recipes.over(given, _read_config(Path(given["config"])) if "config" in given else {})
    saved = _saved(_folder(merged)) if given.get("resume") else {}
    if "recipe" in merged:
        _check_recipe(merged, saved)
        merged = recipes.apply(merged["recipe"], recipes.over(merged, saved))
    own = recipes.over({name: merged[name] for name in NAMES if name in merged}, saved)
    settings = Settings(**own)
    # What is left to choose without the data is chosen here, so that the run folder says it.
    open_ended = settings.steps is not None or settings.is_text or settings.until_plateau
    epochs = None if open_ended else options.EPOCHS
    return replace(settings, model=settings.model_name, epochs=settings.epochs or epochs)


def _folder(merged: Mapping[str, Any]) -> Path:
    """The run folder, whatever else is right or wrong with the settings."""
    naming = {name: merged[name] for name in ("out", "data", "schedule") if name in merged}
    if "data" not in naming and "recipe" in merged:
        naming["data"] = recipes.RECIPES[merged["recipe"]].settings.get("data", Settings.data)
    return Settings(**naming).folder


def _saved(folder: Path) -> dict[str, Any]:
    """The settings of the run in ``folder``; empty if there is none."""
    from autowu.train.output.log import read_run

    run = read_run(folder)
    if run is None:
        return {}
    saved = dict(cast("dict[str, Any]", run["config"]))
    for name in saved:
        _known(name, f"{folder / 'run.json'}, of another version,")
    saved["logger"] = tuple(saved.get("logger", ()))
    saved["out"] = str(folder)
    return saved


def _check_recipe(merged: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    """See that the run to be resumed, whose settings are taken, may be one of the recipe.

    Raises:
        UserError: it is of other data.
    """
    name, its = merged["recipe"], saved.get("data")
    of_recipe = recipes.RECIPES[name].settings.get("data")
    if (
        "data" not in merged
        and None not in (its, of_recipe)
        and its in options.IMAGE_SETS
        and its != of_recipe
    ):
        raise UserError(
            f"cannot resume with --recipe {name}, which is for {of_recipe}: the run in {saved['out']} has"
            f" --data {its}"
        )


def _read_config(path: Path) -> dict[str, Any]:
    """The settings of a YAML file, checked as if they had been given as flags."""
    import yaml

    from autowu.train.settings.yaml_file import Loader

    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.load(file, Loader)
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path} must be a mapping of settings, such as `epochs: 10`, not {content!r:.80}")
    words: dict[str, list[str]] = {}
    for key, value in cast("Mapping[Any, Any]", content).items():
        name = str(key).replace("-", "_")
        if name != "recipe":
            _known(name, str(path))
        if name in words:
            raise UserError(f"{path} has {name} twice, as {name} and {flag(name).removeprefix('--')}")
        words[name] = _words(name, value, path)
    parser = _FileParser(path)
    add_arguments(parser)
    return vars(parser.parse_args(list(chain(*words.values()))))


def _words(name: str, value: Any, path: Path) -> list[str]:
    """A setting as it is written on the command line."""
    if isinstance(value, bool) and name in SWITCHES:
        return [flag(name) if value else flag(f"no_{name}")]
    if name == "set":
        if not isinstance(value, Mapping):
            raise UserError(f"{path}: set must be a mapping of fields of autowu.Config, not {value!r:.80}")
        items = cast("Mapping[str, Any]", value).items()
        return [f"--set={key}={item if isinstance(item, str) else json.dumps(item)}" for key, item in items]
    if isinstance(value, list):
        return [f"{flag(name)}={','.join(map(str, cast('list[Any]', value)))}"]
    if isinstance(value, (Mapping, bool)) or value is None or name in SWITCHES:
        kind = "true or false" if name in SWITCHES else "one value"
        raise UserError(f"{path}: {name} must be {kind}, not {value!r:.80}")
    return [f"{flag(name)}={value}"]


def _known(name: str, where: str) -> None:
    if name not in NAMES:
        hint = meant(name, NAMES) or f" (settings: {', '.join(NAMES)})"
        raise UserError(f"{where} has no setting {name!r}{hint}")


class _FileParser(Parser):
    """Reads a file's settings as flags; its errors name the file."""

    def __init__(self, path: Path) -> None:
        super().__init__(prog=str(path), add_help=False, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{self.prog}: {message}")
