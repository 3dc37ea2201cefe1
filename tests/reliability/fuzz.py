"""Fuzzing led by coverage, with atheris: `python fuzz.py READER FOLDER -runs=N`."""

import random
import sys
from importlib import import_module
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import atheris

LATE = [
    "autowu.train.data.arrays",
    "autowu.train.checkpoints.checkpoint",
    "torch.serialization",
]  # what readers import late
READ = [
    "autowu.offline.logs",
    "autowu.runlog.run",
    "autowu.runlog.events",
    "numpy.lib",
    "torch._weights_only_unpickler",
]
with atheris.instrument_imports(include=READ + LATE):
    from reliability import damage

    for late in LATE if "npz" in damage.READERS else []:
        import_module(late)

if __name__ == "__main__":
    reader, folder = sys.argv[1], Path(sys.argv[2])
    files = damage.whole(reader)

    def one(data: bytes) -> None:
        """Half of the time what the fuzzer made, else a whole file with its bytes put into it."""
        rng = random.Random(len(data))
        if len(data) % 2:
            data = damage.damaged(rng.choice(files), data, rng)
        damage.give(reader, folder, data)

    corpus = folder / "corpus"
    corpus.mkdir()
    for i, file in enumerate(files):
        (corpus / str(i)).write_bytes(file)
    atheris.Setup([sys.argv[0], *sys.argv[3:], str(corpus)], one)
    atheris.Fuzz()
