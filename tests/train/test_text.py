"""A text: its tokens, its windows, and what is said of one that cannot be used."""

import pytest
import torch

from autowu.errors import UserError
from autowu.train.data import load
from autowu.train.settings.options import Settings


def task(path, **settings):
    return load(Settings(data=str(path), **settings))


def numbered(tmp_path, length):
    """A text of ``length`` different characters, so that a character tells its place."""
    path = tmp_path / "numbered.txt"
    path.write_text("".join(chr(0x4E00 + place) for place in range(length)), encoding="utf-8")
    return path


def inputs(task, first, last):
    return torch.cat([batch.inputs for update in task.updates(first, last) for batch in update])


def test_characters_and_bytes(tmp_path):
    path = tmp_path / "words.txt"
    path.write_bytes("añb\r\na😀\n".encode() * 50)
    text = task(path, context=4, batch_size=4)
    characters = sorted(set("añb\r\na😀\n"))
    assert (text.name, text.kind, text.classes, text.input_shape) == ("words", "text", 6, (4,))
    assert text.description == "words: 360 training and 40 test characters, 6 different, in windows of 4"
    (batch,) = text.evaluation()
    assert batch.inputs.dtype == batch.targets.dtype == torch.int64
    tail = ("añb\r\na😀\n" * 50)[360:]
    read = "".join(characters[token] for token in [*batch.inputs.flatten().tolist(), batch.targets[-1, -1]])
    assert read == tail[:37]

    text = task(path, context=4, batch_size=4, tokens="byte")
    assert text.classes == 256
    (batch,) = text.evaluation()
    assert bytes(batch.inputs.flatten().tolist()) == path.read_bytes()[540:][:56]


def test_a_text_has_tokens_and_no_epochs(tmp_path):
    text = task(numbered(tmp_path, 1000), context=10, batch_size=8)
    assert (text.samples, text.per_update, text.steps_per_epoch) == ("tokens", 80, None)
    assert (text.train_size, text.test_size) == (89, 9)


def test_targets_are_the_next_tokens_and_the_last_tenth_is_the_test_set(tmp_path):
    text = task(numbered(tmp_path, 1000), context=10, batch_size=8)
    train = [batch for update in text.updates(0, 40) for batch in update]
    test = list(text.evaluation())
    for batch in (*train, *test):
        assert torch.equal(batch.targets, batch.inputs + 1)
        assert torch.equal(batch.inputs, batch.inputs[:, :1] + torch.arange(10))
    assert max(batch.targets.max() for batch in train) <= 899
    assert torch.equal(torch.cat([batch.inputs for batch in test]).flatten(), torch.arange(900, 990))


def test_a_pass_has_each_window_once_with_an_offset_and_an_order_of_its_own(tmp_path):
    text = task(numbered(tmp_path, 1000), context=10, batch_size=3)
    starts = inputs(text, 0, 89)[:, 0]  # three passes of 89 windows, without a gap
    passes = starts.view(3, 89)
    offsets = passes.amin(1)
    assert ((offsets >= 0) & (offsets < 10)).all()
    for windows, offset in zip(passes, offsets, strict=True):
        assert torch.equal(windows.sort().values, offset + 10 * torch.arange(89))
    assert len(offsets.unique()) > 1
    assert not torch.equal(passes[0] - offsets[0], passes[1] - offsets[1])


def test_all_offsets_occur_and_stay_within_the_training_part(tmp_path):
    text = task(numbered(tmp_path, 1000), context=10, batch_size=89)
    starts = inputs(text, 0, 100)[:, 0].view(100, 89)
    assert (starts.amin(1).unique() == torch.arange(10)).all()
    assert starts.max() + 10 <= 899


def test_a_batch_of_several_passes(tmp_path):
    text = task(numbered(tmp_path, 110), context=10, batch_size=32)
    assert text.train_size == 8
    starts = inputs(text, 0, 2)[:, 0].view(8, 8)
    for windows in starts:
        assert len(windows.unique()) == 8


def test_texts_that_cannot_be_used(tmp_path):
    path = tmp_path / "bad.txt"
    with pytest.raises(UserError, match=r"cannot read .*bad\.txt: No such file"):
        task(path)
    path.write_text("ab" * 54 + "c", encoding="utf-8")
    with pytest.raises(UserError, match=r"bad\.txt has 109 characters, but windows of --context 10 need 110"):
        task(path, context=10)
    path.write_text("ab" * 55, encoding="utf-8")
    assert task(path, context=10).test_size == 1
    path.write_text("", encoding="utf-8")
    with pytest.raises(UserError, match=r"has 0 bytes, but"):
        task(path, tokens="byte")
    path.write_text("aaaa" * 400, encoding="utf-8")
    with pytest.raises(UserError, match=r"must have two different characters or more, not only 'a'"):
        task(path, context=10)
    path.write_bytes(b"ab" * 400 + b"\xff")
    with pytest.raises(UserError, match=r"is not UTF-8 \(byte 800\); --tokens byte takes any file"):
        task(path, context=10)
    assert task(path, context=10, tokens="byte").classes == 256


def test_the_fingerprint_is_that_of_the_text(tmp_path):
    path = tmp_path / "a.txt"
    found = []
    for content in ("ab" * 100, "ab" * 100, "ab" * 99 + "ba"):
        path.write_text(content, encoding="utf-8")
        found.append(task(path, context=4).fingerprint)
    assert found[0] == found[1] != found[2]
