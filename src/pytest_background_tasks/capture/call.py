"""What a background task calls: the function, and the arguments it got.

It has to be read before the coroutine starts: afterwards its parameters are variables like any other.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Any, NamedTuple


class Call(NamedTuple):
    """A call as a value. ``callee`` is the function or mock itself where a coroutine's code would not tell it."""

    function: str
    module: str
    arguments: dict[str, Any]
    code: CodeType | None
    callee: object | None = None


def call_of_coroutine(coroutine: Any) -> Call:
    """The call that made `coroutine`, which must not have started yet."""
    code: CodeType | None = getattr(coroutine, "cr_code", None) or getattr(coroutine, "gi_code", None)
    frame = getattr(coroutine, "cr_frame", None) or getattr(coroutine, "gi_frame", None)
    function = getattr(coroutine, "__qualname__", type(coroutine).__qualname__)
    if code is None or frame is None:  # compiled (Cython), or an awaitable object of its own kind
        return Call(function, type(coroutine).__module__, {}, code)
    if code is _mock_code():
        return _call_of_mock(**frame.f_locals)
    module = frame.f_globals.get("__name__", "?")
    return Call(function, module, _arguments(code, frame.f_locals) if _has_parameters(code) else {}, code)


def call_of_callable(callee: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """The call ``callee(*args, **kwargs)``, not made yet."""
    function = getattr(callee, "__qualname__", type(callee).__qualname__)
    module = getattr(callee, "__module__", None) or type(callee).__module__
    code = getattr(inspect.unwrap(callee), "__code__", None)
    try:
        signature = inspect.signature(callee)
    except (TypeError, ValueError):
        return Call(function, module, _unnamed(args, kwargs), code, callee)
    return Call(function, module, _bound(signature, args, kwargs), code, callee)


def is_mock_coroutine(coroutine: Any) -> bool:
    """Whether `coroutine` is the answer of an ``AsyncMock``, which stands for a function of the project's own."""
    return getattr(coroutine, "cr_code", coroutine) is _mock_code()


def _mock_code() -> CodeType | None:
    mock = sys.modules.get("unittest.mock")
    return mock.AsyncMockMixin._execute_mock_call.__code__ if mock else None


def _call_of_mock(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any], **_: object) -> Call:
    name = self._extract_mock_name()
    signature = self._spec_signature
    arguments = _unnamed(args, kwargs) if signature is None else _bound(signature, args, kwargs)
    return Call(name, type(self).__module__, arguments, None, self)


def _has_parameters(code: CodeType) -> int:
    return code.co_argcount or code.co_kwonlyargcount or code.co_flags & (inspect.CO_VARARGS | inspect.CO_VARKEYWORDS)


def _arguments(code: CodeType, variables: Mapping[str, Any]) -> dict[str, Any]:
    flags = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + flags]
    return {name: variables[name] for name in names}


def _bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:  # the call itself will say so when it is made
        return _unnamed(args, kwargs)
    bound.apply_defaults()
    return dict(bound.arguments)


def _unnamed(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {"args": args, **kwargs} if args else dict(kwargs)
