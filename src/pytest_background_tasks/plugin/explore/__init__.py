"""The pytest side of ``@explore``: the decorator, its options, fresh fixtures, and reports."""
