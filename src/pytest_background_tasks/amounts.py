"""How many of something, in words."""


def amount(count: int, noun: str) -> str:
    """A number and its noun, which takes an "s" if there is not one of it.

    >>> amount(1, "step"), amount(0, "step"), amount(2, "step")
    ('1 step', '0 steps', '2 steps')
    """
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
