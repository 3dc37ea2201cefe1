"""Write tests/data/curves/golden.json: what the reference decides on every recorded curve, for several seeds.

    PYTHONPATH=tests python -m reference.make_golden [--seeds 5]

It takes some minutes, which is why tests compare the library with the file rather than with the reference.
"""

import argparse
import json
from dataclasses import asdict

import torch

from reference import curves
from reference.paper_gpytorch import Decision, decide, gpytorch


def golden(decision: Decision) -> dict[str, object]:
    """What of a decision the file holds."""
    return {key: value for key, value in asdict(decision).items() if key != "tests"}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=5)
    seeds = parser.parse_args().seeds

    torch.set_num_threads(1)
    decisions: dict[str, dict[str, object]] = {}
    for name in curves.INDEX:
        losses, schedule = curves.losses(name), curves.schedule(name)
        decisions[name] = {str(seed): golden(decide(losses, **schedule, seed=seed)) for seed in range(seeds)}
        print(name, *(list(entry.values()) for entry in decisions[name].values()), flush=True)
    versions = {"torch": torch.__version__, "gpytorch": gpytorch.__version__}
    contents = {"versions": versions, "decisions": decisions}
    (curves.FOLDER / "golden.json").write_text(json.dumps(contents, indent=2) + "\n")


if __name__ == "__main__":
    main()
