"""``python -m autowu`` is the command ``autowu``."""

import sys

from autowu.cli import main

sys.exit(main())
