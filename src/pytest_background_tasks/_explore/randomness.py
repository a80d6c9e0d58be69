"""The state of ``random``, and of numpy's generator if it is imported, before each run of an exploration."""

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple


class Randomness:
    """The random numbers of the runs: the same in each run, or those of the process.

    Random numbers that are the same in each run come from the seed of the exploration, so another process can repeat
    the run. They do not advance the state of the process: code after the exploration does not draw them again.

    Args:
        seed: the seed of the exploration.
        is_same: True if each run gets the same numbers.

    Attributes:
        is_same: see the argument; it applies to the runs that begin from now on.
    """

    def __init__(self, seed: int | str, *, is_same: bool) -> None:
        self.is_same: bool = is_same
        self._seed = seed
        self._before: dict[str, tuple[_Generator, Any]] = {}  # the states of the process, while runs have others
        self._latest: dict[str, object] = {}
        self._has_changed = False

    def begin_run(self) -> None:
        """Set the state for a run, or leave it as it is."""
        if not self.is_same:
            self._look()
            return
        for name, generator in _generators().items():
            if name not in self._before:
                self._before[name] = generator, generator.get()
            generator.seed(self._seed)

    @property
    def has_changed(self) -> bool:
        """True if random numbers have been drawn since the first run that got those of the process."""
        self._look()
        return self._has_changed

    def _look(self) -> None:
        if self._has_changed:
            return
        states = {name: _comparable(generator.get()) for name, generator in _generators().items()}
        self._has_changed = any(states[name] != state for name, state in self._latest.items() if name in states)
        self._latest = states

    def restore(self) -> None:
        """Restore the state of the process."""
        for generator, state in self._before.values():
            generator.set(state)
        self._before.clear()

    @contextmanager
    def same(self) -> Iterator[None]:
        """Give the same numbers to the runs inside the block."""
        before, self.is_same = self.is_same, True
        try:
            yield
        finally:
            self.is_same = before
            if not before:
                self.restore()


class _Generator(NamedTuple):
    get: Callable[[], Any]
    set: Callable[[Any], object]
    seed: Callable[[int | str], object]


_PYTHONS = _Generator(random.getstate, random.setstate, random.seed)


def _generators() -> dict[str, _Generator]:
    numpy: Any = sys.modules.get("numpy.random")
    if not hasattr(numpy, "get_state"):  # not imported, or a stub
        return {"python": _PYTHONS}

    def seed(value: int | str) -> None:
        numpy.seed(random.Random(value).getrandbits(32))

    return {"python": _PYTHONS, "numpy": _Generator(numpy.get_state, numpy.set_state, seed)}


def _comparable(state: Any) -> object:
    """Return a state whose parts can be compared; numpy's has an array."""
    return tuple(part.tobytes() if hasattr(part, "tobytes") else part for part in state)
