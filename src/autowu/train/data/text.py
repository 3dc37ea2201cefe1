"""A text as a language model reads it: windows of characters, or of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from autowu.errors import UserError
from autowu.train.data import order
from autowu.train.data.task import Batch, Share, digest
from autowu.train.run.randomness import generator
from autowu.train.settings.options import Settings

UNITS = {"char": "characters", "byte": "bytes"}
BYTES = 256


def load(settings: Settings, share: Share, device: torch.device) -> TextWindows:
    """The text of the file ``settings.data``, as characters or as bytes.

    Raises:
        UserError: the file cannot be read, is not UTF-8 though characters are asked for, or is too short.
    """
    path = Path(settings.data)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from error
    if settings.tokens == "byte":
        tokens, vocabulary = torch.from_numpy(np.frombuffer(content, np.uint8).copy()), BYTES
    else:
        tokens, vocabulary = _characters(path, content)
    needed = 10 * (settings.context + 1)  # so that the test set has one window
    if len(tokens) < needed:
        raise UserError(
            f"{path} has {len(tokens):,} {UNITS[settings.tokens]}, but windows of --context "
            f"{settings.context} need {needed:,} or more; the last tenth is the test set"
        )
    return TextWindows(path.stem, tokens, vocabulary, digest([content]), settings, share, device)


def _characters(path: Path, content: bytes) -> tuple[Tensor, int]:
    """Each character's number among the file's characters, in Unicode's order; and how many there are."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UserError(
            f"{path} is not UTF-8 (byte {error.start:,}); --tokens byte takes any file"
        ) from error
    points = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    vocabulary, numbers = np.unique(points, return_inverse=True)
    if len(vocabulary) == 1:
        raise UserError(f"{path} must have two different characters or more, not only {text[0]!r}")
    small = np.uint8 if len(vocabulary) <= 256 else np.int32
    return torch.from_numpy(numbers.astype(small)), len(vocabulary)


class TextWindows:
    """A :class:`~autowu.train.data.task.Task` over tokens: the last tenth of them is the test set.

    A pass cuts the training part into windows that do not overlap, from an offset in 0 … context - 1 on, and
    takes them in random order; offset and order are the pass's own, and passes follow each other without a
    gap. A window's targets are its tokens, one further on. The tokens live on the device.

    Args:
        name: of the data.
        tokens: integers of shape (tokens,), each below ``vocabulary``; at least 10 (context + 1).
        vocabulary: different tokens that there may be.
        fingerprint: of the text.
    """

    kind: Literal["text"] = "text"
    samples: Literal["tokens"] = "tokens"
    steps_per_epoch: None = None

    def __init__(
        self,
        name: str,
        tokens: Tensor,
        vocabulary: int,
        fingerprint: str,
        settings: Settings,
        share: Share,
        device: torch.device,
    ) -> None:
        context = settings.context
        test = len(tokens) // 10
        train = len(tokens) - test
        self.name, self.fingerprint = name, fingerprint
        self.classes = vocabulary
        self.input_shape = (context,)
        self.train_size = (
            train - context
        ) // context  # at every offset, the target of the last token included
        self.test_size = (test - 1) // context
        self.per_update = settings.batch_size * context
        self.description = (
            f"{name}: {train:,} training and {test:,} test {UNITS[settings.tokens]}, "
            f"{vocabulary} different, in windows of {context}"
        )
        tokens = tokens.to(device)
        self._train, self._test = tokens[:train], tokens[train:]
        self._seed, self._batch, self._device = settings.seed, settings.batch_size, device
        self._micro_batches = order.micro_batches(settings.batch_size, settings, share)
        size = order.evaluation_size(settings, share, values=3 * context)
        self._pieces = order.pieces(share.of(self.test_size), size)
        self._window = torch.arange(context + 1, device=device)
        self._pass, self._starts = -1, torch.empty(0)

    def size(self, update: int) -> int:
        """Windows in ``update``, over all processes."""
        return self._batch

    def updates(self, first: int, last: int) -> Iterator[Iterator[Batch]]:
        """For each update ``first`` … ``last`` - 1, counted from 0: the micro-batches of this process."""
        for update in range(first, last):
            yield self._update(update)

    def _update(self, update: int) -> Iterator[Batch]:
        before = update * self._batch
        for rows in self._micro_batches:
            yield self._windows(self._train, self._rows(before + rows.start, before + rows.stop))

    def evaluation(self) -> Iterator[Batch]:
        """This process's share of the test windows, in pieces; tokens after the last one are left out."""
        for rows in self._pieces:
            starts = torch.arange(rows.start, rows.stop, device=self._device) * self.input_shape[0]
            yield self._windows(self._test, starts)

    def close(self) -> None:
        """Nothing runs beside the training."""

    def _rows(self, first: int, last: int) -> Tensor:
        """Where windows ``first`` … ``last`` - 1, counted over all passes, begin."""
        size, found = self.train_size, list[Tensor]()
        for turn in range(first // size, (last - 1) // size + 1):
            found.append(self._pass_starts(turn)[max(first - turn * size, 0) : last - turn * size])
        return torch.cat(found)

    def _pass_starts(self, turn: int) -> Tensor:
        if turn != self._pass:
            context = self.input_shape[0]
            offset = torch.randint(context, (), generator=generator(self._seed, "offset", turn))
            starts = order.shuffled(self.train_size, self._seed, turn) * context + offset
            self._pass, self._starts = turn, starts.to(self._device, non_blocking=True)
        return self._starts

    def _windows(self, tokens: Tensor, starts: Tensor) -> Batch:
        windows = tokens[starts[:, None] + self._window].long()
        return Batch(windows[:, :-1], windows[:, 1:])
