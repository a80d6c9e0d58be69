"""The functions of module ``datetime`` that read the clock, in virtual time.

They are methods of classes written in C, and are replaced in the dictionaries of these classes: a class of our own in
their place would change ``isinstance``, pickles and every module that has imported the class. A library that freezes
time has put its own classes into the module; then nothing is replaced, and neither is anything in an interpreter whose
``datetime`` is written in Python.
"""

import datetime
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from types import ClassMethodDescriptorType
from typing import Any, TypeAlias

from .patching import patched_in_c

Microseconds: TypeAlias = Callable[[str], int | None]
"""Returns the virtual time since 1970 for the code of a file; None if its clocks are real."""


@contextmanager
def dates_following(microseconds: Microseconds) -> Iterator[None]:
    """Let ``datetime.now()``, ``utcnow()`` and ``today()`` follow virtual time inside the block."""
    methods: list[tuple[Any, str, Any]] = [(datetime.datetime, "utcnow", _utcnow), (datetime.datetime, "now", _now)]
    if sys.version_info >= (3, 15):  # before, it calls time.time(), as today() of a subclass still does
        methods.append((datetime.date, "today", _today))
    with ExitStack() as stack:
        if all(type(vars(owner).get(name)) is ClassMethodDescriptorType for owner, name, _ in methods):
            for owner, name, following in methods:
                stack.enter_context(patched_in_c(owner, name, partial(following, owner, microseconds)))
        yield


def _now(owner: Any, microseconds: Microseconds, real: Any) -> Any:
    from_timestamp = vars(owner)["fromtimestamp"]

    def now(cls: Any, *args: Any, **kwargs: Any) -> Any:
        moment = microseconds(sys._getframe(1).f_code.co_filename)
        if moment is None or len(args) + len(kwargs) > 1 or not kwargs.keys() <= {"tz"}:
            return real.__get__(None, cls)(*args, **kwargs)
        return from_timestamp.__get__(None, cls)(moment / 10**6, *args, **kwargs)

    return _in_place_of(real, now)


def _utcnow(owner: Any, microseconds: Microseconds, real: Any) -> Any:
    now, from_timestamp = vars(owner)["now"], vars(owner)["fromtimestamp"]
    deprecations = _deprecations(real.__get__(None, owner))

    def utcnow(cls: Any, *args: Any, **kwargs: Any) -> Any:
        if args or kwargs:
            return real.__get__(None, cls)(*args, **kwargs)
        for category, text in deprecations:  # the real method would warn of this file
            warnings.warn(text, category, stacklevel=2)
        moment = microseconds(sys._getframe(1).f_code.co_filename)
        if moment is None:
            utc = now.__get__(None, owner)(datetime.UTC)
        else:
            utc = from_timestamp.__get__(None, owner)(moment / 10**6, datetime.UTC)
        return cls(utc.year, utc.month, utc.day, utc.hour, utc.minute, utc.second, utc.microsecond, None)

    return _in_place_of(real, utcnow)


def _today(_: Any, microseconds: Microseconds, real: Any) -> Any:
    def today(cls: Any, *args: Any, **kwargs: Any) -> Any:
        moment = None if args or kwargs else microseconds(sys._getframe(1).f_code.co_filename)
        return real.__get__(None, cls)(*args, **kwargs) if moment is None else cls.fromtimestamp(moment / 10**6)

    return _in_place_of(real, today)


def _in_place_of(real: Any, method: Any) -> Any:
    method.__name__, method.__qualname__, method.__doc__ = real.__name__, real.__qualname__, real.__doc__
    return classmethod(method)


@cache
def _deprecations(read: Callable[[], object]) -> list[tuple[type[Warning], str]]:
    """Return the warnings by which this version of Python deprecates a function: class and text."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        read()
    return [(each.category, str(each.message)) for each in caught]
