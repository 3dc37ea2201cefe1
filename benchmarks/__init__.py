"""Speed, side by side with peers: ``python -m benchmarks [NAME …] [--quick]``."""

import os

# One thread each, which a numerical library reads when it is first imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[_name] = "1"
