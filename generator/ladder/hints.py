"""Which layers an image's history gives away. Pure.

Source: OCI image-spec config.md, "history": one entry per build step, in order; those with `empty_layer` made
no layer, the others one each.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from generator.layers.pattern import Pattern


def hinted(config: bytes, layers: int, pattern: Pattern) -> frozenset[int]:
    """Numbers of the layers (0 is the base) whose instruction mentions what the pattern looks for.

    Nothing for a history that doesn't fit the layers: it is only a hint, and builders may leave it out.
    """
    words = _words(pattern)
    try:
        history = json.loads(config)["history"]
        steps = [step for step in history if not step.get("empty_layer")]
        instructions = [str(step.get("created_by", "")) for step in steps]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return frozenset()
    if len(instructions) != layers:
        return frozenset()
    return frozenset(
        number for number, text in enumerate(instructions) if any(word in text for word in words)
    )


def _words(pattern: Pattern) -> Sequence[str]:
    # A single directory such as /opt stands in too many instructions to say anything.
    named = pattern.literal[:-1] if pattern.exact else pattern.literal
    words = ["/" + "/".join(named)] if len(named) > 1 else []
    last = Pattern((pattern.parts[-1],))
    if last.exact:
        words.append(last.literal[0])
    return words
