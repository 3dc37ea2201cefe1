"""Names that can be told apart, in an order that people expect."""

from pathlib import Path

import pytest

from autowu.report.figures import label
from autowu.report.names import in_order, names, natural

LONG = [f"/runs/image-classification-resnet50-augmented-seed{seed}-lr0.1-final" for seed in (1, 2)]


@pytest.mark.parametrize(
    ("paths", "told"),
    [
        (["/x/a", "/x/b"], ["a", "b"]),
        (["/x/lr1/seed0", "/x/lr2/seed0"], ["lr1/seed0", "lr2/seed0"]),
        (LONG, ["…seed1…", "…seed2…"]),
        (["/x/a", "/x/a", "/x/a"], ["a", "a (2)", "a (3)"]),
        (["/" + "a" * 60, "/b"], ["a" * 60, "b"]),  # nothing in common
        (["/" + "a" * 60], ["a" * 60]),
    ],
)
def test_names_tell_runs_apart(paths: list[str], told: list[str]) -> None:
    found = names([Path(path) for path in paths])
    assert found == told
    assert len({label(name) for name in found}) == len(paths)


def test_a_shell_s_order_becomes_a_natural_one_and_a_chosen_one_stays() -> None:
    listed = [Path(f"runs/{name}") for name in ("run1", "run10", "run2")]
    assert [path.name for path in in_order(listed)] == ["run1", "run2", "run10"]
    chosen = [listed[1], listed[0], listed[2]]
    assert in_order(chosen) == chosen


def test_rates_are_in_order_of_their_value() -> None:
    rates = ["lr1e-3", "lr0.01", "lr5e-3", "lr0.1"]
    assert sorted(rates, key=natural) == ["lr1e-3", "lr5e-3", "lr0.01", "lr0.1"]
