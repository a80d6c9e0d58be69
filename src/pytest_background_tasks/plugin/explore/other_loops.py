"""Other event loops: a test suite may configure one, but explored tests never use it.

The fixtures through which it does so get a value that leads to the loop of the run.
Most code does not depend on the kind of loop. So a note mentions it only if a test fails in asyncio's default order:
then it may be the reason.

Private names used here: of pytest, tested from 8.4 on, ``_fixturemanager`` of a session; of CPython,
``_event_loop_policy`` of asyncio.events, because the public function is deprecated.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

from ..._introspect.location import definition
from .stash import CHOSEN

_FIXTURES = ("event_loop_policy", "event_loop", "loop_factory", "loop")
_FACTORIES = ("loop_factory", "_asyncio_loop_factory")
_BACKEND_OPTIONS = ("use_uvloop", "loop_factory", "policy")
_PLUGINS = ("pytest_asyncio.", "aiohttp.", "pytest_aiohttp.", "anyio.")


def replaced(name: str, value: Any, policy: Any) -> Any:
    """Return the value of a fixture that chooses an event loop, changed to choose the loop of the run.

    Args:
        name: the name of the fixture.
        value: its value; that of any other fixture is returned unchanged.
        policy: the policy that creates the loop of the run.
    """
    if name == "event_loop_policy":
        return policy
    if name in _FACTORIES and callable(value):
        return asyncio.new_event_loop
    if name == "anyio_backend" and isinstance(value, tuple) and len(value) > 1:
        return value[0], {name: option for name, option in value[1].items() if name not in _BACKEND_OPTIONS}
    return value


def note(item: Any) -> str:
    """Return a note for a test that failed in asyncio's default order; empty if its suite configures no other loop."""
    asked = asked_loops(item)
    if not asked:
        return ""
    return (
        f"the test suite configures another event loop, which explored tests do not use: {', '.join(asked)}\n"
        f"@explore works like asyncio's default event loop. If the test needs the other one, it cannot be explored: "
        f"remove @explore"
    )


def asked_loops(item: Any) -> list[str]:
    """Return descriptions of everything through which a suite chooses another event loop for a test."""
    return list(_asked(item))


def _asked(item: Any) -> Iterator[str]:
    for name in _FIXTURES:
        function = _overriding(item, name)
        if function is not None:
            yield f"the fixture {name}{_at(function)}"
    for hook in _loop_factories(item):
        yield f"the hook pytest_asyncio_loop_factories{_at(hook)}"
    options = _backend_options(item)
    if options:
        yield f"anyio_backend with {options}"
    kind = type(getattr(asyncio.events, "_event_loop_policy", None))
    if not kind.__module__.startswith(("asyncio.", "builtins")):
        yield f"the event loop policy {kind.__module__}.{kind.__name__}"
    aiohttps = item.config.getoption("aiohttp_loop", "pyloop")
    if aiohttps not in ("pyloop", None):
        yield f"--aiohttp-loop={aiohttps}"


def _overriding(item: Any, name: str) -> Any:
    """Return the function of the suite's own fixture of this name; None if the test would not use one."""
    fixtures = item.session._fixturemanager.getfixturedefs(name, item)
    function = inspect.unwrap(fixtures[-1].func) if fixtures else None
    is_plugins = getattr(function, "__module__", "").startswith(_PLUGINS)
    # A fixture called "loop" may be anything; it is an event loop only if it overrides that of aiohttp's plugin.
    is_other = name == "loop" and not (fixtures and fixtures[0].func.__module__.startswith(_PLUGINS))
    return None if is_plugins or is_other else function


def _loop_factories(item: Any) -> list[Any]:
    hook = getattr(item.ihook, "pytest_asyncio_loop_factories", None)
    return [] if hook is None else [each.function for each in hook.get_hookimpls()]


def _backend_options(item: Any) -> str:
    """Return the options of anyio's backend that choose a loop, as text."""
    values = {**(getattr(item, "funcargs", None) or {}), **item.stash.get(CHOSEN, {})}
    backend = values.get("anyio_backend")
    options = backend[1] if isinstance(backend, tuple) and len(backend) > 1 else {}
    chosen = {name: options[name] for name in _BACKEND_OPTIONS if options.get(name)}
    return ", ".join(f"{name}={getattr(value, '__qualname__', value)}" for name, value in chosen.items())


def _at(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return "" if code is None else f" ({definition(code)})"
