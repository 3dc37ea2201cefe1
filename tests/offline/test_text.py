"""A replay in words: each way in which warm-up can end is told by its own."""

import pytest
from tests.controller.endings import ENDINGS

from autowu.offline import text
from autowu.offline.logs import Record

DEAD = "no loss was recorded any more, or none that is finite (3 checks in a row)"
SAID = {
    "a minimum": "the minimum of the loss was detected (3 tests in a row), and from step",
    "a minimum, paper": "the minimum of the loss was detected (3 tests in a row). It lay at step 100.",
    "a fall at its end": "the minimum of the loss was detected (3 tests in a row, by the end of the fall)",
    "two rises": "the loss had risen twice without having fallen. The decay (linear) begins with",
    "a rise, by the cap": "its cap of 500 updates; the loss had not fallen, and no learning rate is known",
    "neither": "its cap of 500 updates; the loss had not fallen, and no learning rate is known to be good.",
    "a fall to the cap": "its cap of 500 updates without a minimum detected. The decay (linear) begins with",
    "a fall to the cap, paper": "its cap of 200 updates without a minimum detected. The decay (cosine)",
    "lift-off at the cap": "its cap of 11 updates before a test could tell where the minimum of the loss is.",
    "dead": f"{DEAD}. The last learning rate known to be good was that of step 251.0. The decay (linear) "
    "begins with 0.005, half of it.",
    "dead, paper": f"{DEAD}. The last learning rate known to be good was that of step 89.0. The decay "
    "(cosine) begins with 0.00168.",
    "dead before lift-off": f"{DEAD}. The decay (linear) begins with learning rate 1e-05.",
    "never alive": f"{DEAD}, and too few before to tell anything (0, of at least 10). The decay",
}


@pytest.mark.parametrize("name", ENDINGS)
def test_each_end_of_warm_up_is_told(name: str) -> None:
    outcome = ENDINGS[name].replay()
    words = text.decision(Record(ENDINGS[name].losses, None), outcome)
    assert words.startswith(f"At step {outcome.switch_step} ")
    assert SAID[name] in words
