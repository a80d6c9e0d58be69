"""A class of ours under the name of the class that it stands for, so that a program sees that name in every text."""

from collections.abc import Callable
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def named_as(theirs: type) -> Callable[[_Class], _Class]:
    """Give a class the name and the module of `theirs`: ``repr`` of a task or a future begins with the class's name.

    >>> @named_as(int)
    ... class Number(int): ...
    >>> Number
    <class 'int'>
    """

    def name(ours: _Class) -> _Class:
        for attribute in ("__name__", "__qualname__", "__module__"):
            setattr(ours, attribute, getattr(theirs, attribute))
        return ours

    return name
