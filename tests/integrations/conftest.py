"""Where torchvision's operators do not load, some frameworks cannot be imported without this."""

import importlib.util

if importlib.util.find_spec("torch"):  # not every host needs it
    from autowu.integrations import torchvision_shim

    torchvision_shim.install()
