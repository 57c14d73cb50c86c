"""What is done about key 0, where heads with nothing to attend to put their attention."""

from typing import Literal

Sink = Literal["kept", "dropped"]
SINKS: tuple[Sink, ...] = ("kept", "dropped")  # key 0 kept; key 0 removed and rows renormalised
