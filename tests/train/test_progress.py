"""The lines that announce how AutoWU's warm-up ended."""

import pytest

from autowu import Switch, Verdict
from autowu.train.progress import Progress

DETECTED = Verdict(90, 10, p_min=(0.99,), detected=True, argmins=(0.5,))
NOT_DETECTED = Verdict(90, 10, p_min=(0.4,), argmins=(0.5,))


@pytest.mark.parametrize(
    ("switch", "verdict", "line"),
    [
        (
            Switch(93, False, 81.42, 0.0123, 80),
            DETECTED,
            "step 93: minimum detected at t* = 81.4; back to the weights of step 80, LR 0.0123, linear decay",
        ),
        (
            Switch(93, True, 81.42, 0.0123, None),
            DETECTED,
            "step 93: minimum detected at t* = 81.4 (at the cap); LR 0.0123, linear decay",
        ),
        (
            Switch(93, True, None, 1.0, None),
            DETECTED,
            "step 93: warm-up has reached its cap; LR 1, linear decay",
        ),
        (
            Switch(93, True, None, 1.0, None),
            NOT_DETECTED,
            "step 93: warm-up has reached its cap; LR 1, linear decay",
        ),
        (
            Switch(93, False, 70.0, 0.5, 60),
            NOT_DETECTED,
            "step 93: the loss has ceased to be finite; back to the weights of step 60, LR 0.5, linear decay",
        ),
    ],
)
def test_the_switch_has_a_line_that_says_why(capsys, switch, verdict, line):
    Progress(epochs=10, decay="linear").switch(switch, (verdict,))
    assert capsys.readouterr().out == line + "\n"
