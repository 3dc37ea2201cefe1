"""How a file of settings is read: its numbers as flags have them, and no setting twice."""

from __future__ import annotations

from typing import Any, Final

import yaml

_TYPED: Final = frozenset({"tag:yaml.org,2002:bool", "tag:yaml.org,2002:null", "tag:yaml.org,2002:merge"})


class Loader(yaml.SafeLoader):
    """Leaves numbers and dates as they are written: the flags read them.

    YAML has rules of its own: 010 would be 8, 1:30:00 would be 5,400, and 1e-2 a word.
    """

    yaml_implicit_resolvers: Final = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag in _TYPED]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, whose keys have to differ: YAML says so, and PyYAML takes the last of them."""
        seen = set[str]()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"it has {key.value!r:.80} twice", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)
