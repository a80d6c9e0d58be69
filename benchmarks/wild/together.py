"""A counter of tasks that are inside a block at the same time."""


class Together:
    """A context manager that counts the tasks inside it; ``most`` is the largest number so far."""

    def __init__(self):
        self.now = self.most = 0

    def __enter__(self):
        self.now += 1
        self.most = max(self.most, self.now)

    def __exit__(self, *_):
        self.now -= 1
