"""The moments at which virtual time stops.

A float loses its last digit where it passes a power of two. A loop's time begins at the uptime of the machine, and what
a program reckons with it (``loop.time() - loaded_at >= 300``) would depend on that. So all moments lie on a grid.
"""

_GRAIN = 2.0**-35  # seconds: the distance of two moments on the grid; a number of them is exact until
_EXACT = 2.0**18  # seconds, three days


def on_grid(moment: float) -> float:
    """The next moment of the grid, on which sums and differences are exact, from wherever time began."""
    return -(-moment // _GRAIN) * _GRAIN if -_EXACT < moment < _EXACT else moment
