"""``@explore``: the pytest side of the explorer. The decorator, its options, fresh fixtures, and what is reported."""
