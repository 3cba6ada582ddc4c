"""Statistics and figures of merit from arrays, and the shares of a map's mass that r(t) is given for. No torch."""

SHARES = (0.20, 0.30, 0.50, 0.95, 0.99)
"""Shares ``t`` of the mass for which ``r(t)`` is given."""


def key(share: float) -> str:
    """Return the key of ``r(t)``: ``r50`` for 0.5."""
    return f"r{round(100 * share)}"
