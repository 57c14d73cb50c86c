"""Whether a sliding window can act at all: one that is as long as the prompt hides nothing.

Imports nothing heavy: tables are made without the libraries that run models.
"""

from collections.abc import Sequence


def windows_act(windows: Sequence[int | None], tokens: int) -> list[bool]:
    """Per attention layer, whether its window hides any key from any query of a prompt of that many tokens.

    windows: as `architecture_facts` has them, the most tokens that a query reaches back, itself included.
    """
    return [window is not None and window < tokens for window in windows]
