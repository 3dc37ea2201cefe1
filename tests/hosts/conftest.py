"""Where torchvision's operators do not load, some frameworks cannot be imported without this."""

from autowu.train import torchvision_shim

torchvision_shim.install()
