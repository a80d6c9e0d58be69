"""Replacing an attribute for a while."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, wrapper: Callable[[Any], Any]) -> Iterator[None]:
    """Replace ``owner.name`` by ``wrapper(of what is there)``, and put it back unless somebody replaced ours since."""
    inherited = name not in vars(owner)
    before = getattr(owner, name)
    ours = wrapper(before)
    setattr(owner, name, ours)
    try:
        yield
    finally:
        if vars(owner).get(name) is ours:
            if inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, before)
