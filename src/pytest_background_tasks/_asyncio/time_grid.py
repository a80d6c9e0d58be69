"""The grid of moments at which virtual time stops.

A float loses its last digit when it passes a power of two. A loop's time begins at the uptime of the machine, on which
the computations of a program (``loop.time() - loaded_at >= 300``) would thus depend. So all moments lie on a grid.
"""

_GRAIN = 2.0**-35  # seconds between two moments of the grid
_EXACT = 2.0**18  # seconds (three days) up to which a multiple of the grain is exact


def on_grid(moment: float) -> float:
    """Return the next moment of the grid, on which sums and differences are exact, wherever time began."""
    return -(-moment // _GRAIN) * _GRAIN if -_EXACT < moment < _EXACT else moment
