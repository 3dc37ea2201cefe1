"""No test has a limit of time of its own: a machine that others use would fail it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import limits

TESTS = Path(__file__).parent
LIMIT = "limits.HANG"
CLOCKS = {"time.monotonic", "time.time", "time.perf_counter"}
WAITS = {"join", "wait", "poll", "result", "acquire", "communicate"}


def own_limits(source: str) -> Iterator[str]:
    """Each limit that is not the common one: a timeout, a number of seconds to wait, an end on the clock."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                # Hypothesis has a deadline for each example, unless it is told that there is none.
                common = {"timeout": ("None", LIMIT), "deadline": ("None",)}.get(keyword.arg or "")
                if common and ast.unparse(keyword.value) not in common:
                    yield f"line {node.lineno}: {ast.unparse(keyword)}"
            name = ast.unparse(node.func).rpartition(".")[2]
            seconds = node.args[1:2] if name == "WebDriverWait" else node.args[:1] if name in WAITS else []
            if any(map(is_a_number, seconds)):
                yield f"line {node.lineno}: {ast.unparse(node)}"
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            clock = ast.unparse(node.left).removesuffix("()")
            if clock in CLOCKS and ast.unparse(node.right) not in (LIMIT, "HANG"):
                yield f"line {node.lineno}: {ast.unparse(node)}"


def is_a_number(given: ast.expr) -> bool:
    """Whether it is written as a number, or as a constant other than the common one.

    A text is joined from something else, as ``", ".join(names)`` is.
    """
    if isinstance(given, ast.Constant):
        return isinstance(given.value, int | float)
    text = ast.unparse(given)
    return text != LIMIT and text.rpartition(".")[2].isupper()


@pytest.mark.parametrize("file", sorted(TESTS.rglob("*.py")), ids=lambda file: str(file.relative_to(TESTS)))
def test_every_limit_is_the_common_one(file: Path) -> None:
    assert list(own_limits(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "limited",
    [
        "process.join(5)", "process.join(PATIENCE)", "process.communicate(timeout=60)", "process.wait(0.5)",
        "pipe.poll(commands.PATIENCE)", "WebDriverWait(session, 5)", "ui.WebDriverWait(session, 5).until(f)",
        "subprocess.run(command, timeout=seconds)", "HTTPConnection(host, timeout=10)", "future.result(3)",
        "end = time.monotonic() + 120", "end = time.time() + PATIENCE", "settings(deadline=2000)",
        "drawn(session, timeout=60)",
    ],
)  # fmt: skip
def test_a_limit_is_found(limited: str) -> None:
    assert len(list(own_limits(limited))) == 1


@pytest.mark.parametrize(
    "free",
    [
        "process.join()", "process.join(limits.HANG)", "process.communicate(timeout=limits.HANG)",
        "WebDriverWait(session, limits.HANG)", "', '.join(names)", "settings(deadline=None)",
        "end = time.monotonic() + limits.HANG", "took = time.process_time() - begun", "time.sleep(0.01)",
    ],
)  # fmt: skip
def test_what_is_no_limit_is_let_be(free: str) -> None:
    assert list(own_limits(free)) == []


def test_a_hang_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "HANG", 0.02)
    with pytest.raises(AssertionError, match=r"nothing has happened in 0\.02 seconds"):
        limits.wait_for(lambda: False)


def test_waiting_ends_when_the_condition_holds_or_nothing_goes_on() -> None:
    asked = iter([False, False, True])
    limits.wait_for(lambda: next(asked))
    assert list(asked) == []
    alive = iter([True, True, False])
    limits.wait_for(lambda: False, lambda: next(alive))
    assert list(alive) == []
