"""Run the blocks of a host's page and docstrings: python -m pages.run PACKAGE."""

import sys

from autowu.integrations import torchvision_shim
from pages import before, blocks

if __name__ == "__main__":
    torchvision_shim.install()  # as tests/integrations/conftest.py does
    for name, names in before.HOSTS[sys.argv[1]].items():
        blocks.run(blocks.of(blocks.ROOT / name), names())
