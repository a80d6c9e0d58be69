"""How many are at one place at once."""


class Together:
    """Counts who is inside; ``most`` is how many were, at most."""

    def __init__(self):
        self.now = self.most = 0

    def __enter__(self):
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_):
        self.now -= 1
