"""A suite may ask for loops of another kind than asyncio's usual one; an explored test gets none of them.

Most code does not care, so only a test that fails in asyncio's own order says so: then it may be the reason.

What is used of pytest's inside, tried from 8.4 on: ``_fixturemanager`` of a session. A private name of CPython:
``_event_loop_policy`` of asyncio.events, since to ask for the policy is deprecated.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from ..sites import definition

_FIXTURES = ("event_loop_policy", "event_loop", "loop_factory", "loop")
_PLUGINS = ("pytest_asyncio.", "aiohttp.", "pytest_aiohttp.", "anyio.")


def note(item: Any) -> str:
    """Return what to say of a test that has failed in asyncio's own order; empty if its suite asks for no loop."""
    asked = list(_asked(item))
    if not asked:
        return ""
    return (
        f"the suite asks for another loop, which an explored test does not get: {', '.join(asked)}\n"
        f"@explore plays asyncio's usual loop. If that is why this test fails, it cannot be explored: "
        f"take @explore off it"
    )


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
    """Return the function of the suite's own fixture of this name, None if it has none that the test would get."""
    fixtures = item.session._fixturemanager.getfixturedefs(name, item)
    function = inspect.unwrap(fixtures[-1].func) if fixtures else None
    is_plugins = getattr(function, "__module__", "").startswith(_PLUGINS)
    # "loop" may be anything at all; only where aiohttp's plugin has one, it is an event loop.
    is_other = name == "loop" and not (fixtures and fixtures[0].func.__module__.startswith(_PLUGINS))
    return None if is_plugins or is_other else function


def _loop_factories(item: Any) -> list[Any]:
    hook = getattr(item.ihook, "pytest_asyncio_loop_factories", None)
    return [] if hook is None else [each.function for each in hook.get_hookimpls()]


def _backend_options(item: Any) -> str:
    """Return the options of anyio's backend that choose a loop, in words."""
    backend = item.funcargs.get("anyio_backend")
    if backend is None and item.get_closest_marker("anyio") is not None:
        with suppress(Exception):  # it is asked for only here, and may fail
            backend = item._request.getfixturevalue("anyio_backend")
    options = backend[1] if isinstance(backend, tuple) and len(backend) > 1 else {}
    chosen = {name: options[name] for name in ("use_uvloop", "loop_factory", "policy") if options.get(name)}
    return ", ".join(f"{name}={getattr(value, '__qualname__', value)}" for name, value in chosen.items())


def _at(function: Any) -> str:
    code = getattr(function, "__code__", None)
    return "" if code is None else f" ({definition(code)})"
