"""The package's description: the README, with links that lead somewhere from an index's page too."""

import re
from pathlib import Path

from hatchling.metadata.plugin.interface import MetadataHookInterface

LINK = re.compile(r"(\]\()(?!\w+:|#)([^)\s]+)")
PICTURE = re.compile(r"!\[([^\]]*)\]\((?!\w+:)([^)\s]+)\)")


class Description(MetadataHookInterface):
    """Sets ``readme``, which pyproject.toml calls dynamic."""

    def update(self, metadata: dict) -> None:
        """Make the links of the README absolute."""
        repository = self.config["repository"].rstrip("/")
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        text = PICTURE.sub(rf"![\1]({repository}/raw/main/\2)", text)
        text = LINK.sub(rf"\1{repository}/blob/main/\2", text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
