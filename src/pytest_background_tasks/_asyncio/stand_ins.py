"""Classes of this plugin under the names of the classes that they replace, so that programs see these names."""

from collections.abc import Callable
from typing import TypeVar

_Class = TypeVar("_Class", bound=type)


def named_as(theirs: type) -> Callable[[_Class], _Class]:
    """Give a class the name and the module of `theirs`: the ``repr`` of a task or a future begins with that name.

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
