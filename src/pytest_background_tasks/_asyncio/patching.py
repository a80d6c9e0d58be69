"""Replacing a function or a method for a limited time."""

import gc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

_ABSTRACT_METHODS = type.__dict__["__abstractmethods__"]


class Patch:
    """A replaced attribute: ``owner.name`` is now ``wrapper(owner.name)``."""

    def __init__(self, owner: Any, name: str, wrapper: Callable[[Any], Any]) -> None:
        self._owner = owner
        self._name = name
        self._is_inherited = name not in vars(owner)
        self._before = getattr(owner, name)
        self._ours = wrapper(self._before)
        setattr(owner, name, self._ours)

    def restore(self) -> None:
        """Restore the attribute unless other code has replaced it since."""
        if vars(self._owner).get(self._name) is self._ours:
            if self._is_inherited:
                delattr(self._owner, self._name)
            else:
                setattr(self._owner, self._name, self._before)


@contextmanager
def patched(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> Iterator[None]:
    """Replace ``owner.name`` with ``wrapper(owner.name)``; restore it unless other code has replaced it since."""
    patch = Patch(owner, name, wrapper)
    try:
        yield
    finally:
        patch.restore()


@contextmanager
def patched_in_c(owner: type, name: str, wrapper: Callable[[Any], Any]) -> Iterator[None]:
    """Do the same as `patched` for a method of a class that is written in C, whose attributes cannot be set.

    The method is changed in the dictionary of the class, which the garbage collector reveals. Setting the abstract
    methods of the class then invalidates what CPython has cached of it, even if the class is immutable. If an
    interpreter does not reveal such a dictionary, nothing is replaced.
    """
    put = partial(_put_into, _dictionary_of(owner), owner, name)
    before = vars(owner)[name]
    ours = wrapper(before)
    put(ours)
    try:
        yield
    finally:
        if vars(owner)[name] is ours:
            put(before)


def _dictionary_of(owner: type) -> dict[str, Any]:
    return next((each for each in gc.get_referents(vars(owner)) if isinstance(each, dict)), {})


def _put_into(dictionary: dict[str, Any], owner: type, name: str, value: object) -> None:
    dictionary[name] = value
    _ABSTRACT_METHODS.__set__(owner, ())
    _ABSTRACT_METHODS.__delete__(owner)
