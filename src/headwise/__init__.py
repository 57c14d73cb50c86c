"""headwise: a census of attention heads, as a workflow that anyone can rerun.

For Python: `compare`, `extract`, `look`, `noise`, `stability` and `findings` (`headwise.interface`).
"""

from typing import Any

__all__ = ["compare", "extract", "findings", "look", "noise", "stability"]


def __getattr__(name: str) -> Any:
    """The public functions, imported when first used: Snakemake imports this package for every job."""
    if name not in __all__:
        raise AttributeError(f"module 'headwise' has no attribute '{name}'")
    from headwise import interface

    return getattr(interface, name)
