"""The call of a background task: the function and its arguments.

They have to be read before the coroutine starts; afterwards, its parameters are variables like any other.
"""

import inspect
import sys
from collections.abc import Callable, Mapping
from types import CodeType, CoroutineType, FrameType, GeneratorType
from typing import Any, NamedTuple

from .._introspect.location import behind
from .._introspect.untrusted import attribute, code_of_function, module_name, qualified_name, type_module


class Call(NamedTuple):
    """A call as a value. ``callee`` is the function or mock itself if the code of the coroutine does not show it."""

    function: str
    module: str
    arguments: dict[str, Any]
    code: CodeType | None
    callee: object | None = None


class _Function(NamedTuple):
    """The properties that all coroutines of one code share. It keeps the code alive, so that its id stays unique."""

    code: CodeType
    module: str
    parameters: tuple[str, ...]


_functions: dict[int, _Function] = {}


def code_of(coroutine: Any) -> CodeType | None:
    """Return the code of a coroutine or of a generator-based one; None if it is compiled or of an unknown type.

    For ``anext()`` and the like, that is the code of the asynchronous generator.
    """
    if type(coroutine) is CoroutineType:
        return coroutine.cr_code
    if type(coroutine) is GeneratorType:
        return coroutine.gi_code
    code = attribute(coroutine, "cr_code", attribute(coroutine, "gi_code"))
    code = attribute(behind(coroutine), "ag_code") if code is None else code
    return code if type(code) is CodeType else None


def arguments_of(coroutine: Any) -> dict[str, Any] | None:
    """Return the values of the parameters of `coroutine`, which must not have started; None if it has none.

    Called for every task that starts, so it reads the frame of the coroutine only if there are parameters.
    """
    code = code_of(coroutine)
    function = _functions.get(id(code))
    if function is not None and not function.parameters:
        return None
    frame = attribute(coroutine, "gi_frame") if type(coroutine) is not CoroutineType else coroutine.cr_frame
    if code is None or type(frame) is not FrameType:  # compiled (Cython), or an awaitable object of an unknown type
        return None
    if function is None:
        function = _functions[id(code)] = _Function(code, frame.f_globals.get("__name__", "?"), _parameters(code))
    variables = frame.f_locals
    arguments = {name: variables[name] for name in function.parameters}
    if "_checksig_" in frame.f_globals:  # create_autospec, from 3.13 on, returns a coroutine function around the mock
        arguments["self"] = frame.f_globals[code.co_name].mock
    return arguments or None


def module_of(code: CodeType | None) -> str:
    """Return the module of the function of `code`; ``?`` if it is unknown."""
    function = _functions.get(id(code))
    return function.module if function else "?"


def call_of_coroutine(coroutine: Any, arguments: dict[str, Any] | None) -> Call:
    """Return the call that created `coroutine`; `arguments_of` returned its `arguments` before it started."""
    code = code_of(coroutine)
    if arguments is not None and _is_mocks(code, arguments):
        return _call_of_mock(**arguments)
    function, runs = _functions.get(id(code)), behind(coroutine)
    if function is not None:
        module = function.module
    else:
        frame = attribute(runs, "ag_frame")
        module = frame.f_globals.get("__name__", "?") if type(frame) is FrameType else type_module(coroutine)
    return Call(qualified_name(runs), module, arguments or {}, code)


def call_of_callable(callee: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Call:
    """Return the call ``callee(*args, **kwargs)``, which has not been made yet."""
    function, module, code = qualified_name(callee), module_name(callee), code_of_function(callee)
    try:
        signature = inspect.signature(callee)
    except Exception:  # there is none, or an attribute of the program raises
        return Call(function, module, _unnamed(args, kwargs), code, callee)
    return Call(function, module, _bound(signature, args, kwargs), code, callee)


def bound_arguments(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return the arguments by the names of the parameters, including defaults; None if the call will fail."""
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:
        return None
    bound.apply_defaults()
    return dict(bound.arguments)


def is_mock_coroutine(coroutine: Any) -> bool:
    """Return True if an ``AsyncMock``, which stands for a function of the project, has returned `coroutine`."""
    return type(coroutine) is CoroutineType and coroutine.cr_code is _mock_code()


def _mock_code() -> CodeType | None:
    mock = sys.modules.get("unittest.mock")
    return mock.AsyncMockMixin._execute_mock_call.__code__ if mock else None


def _is_mocks(code: Any, arguments: dict[str, Any]) -> bool:
    if code is _mock_code():
        return True
    mock = sys.modules.get("unittest.mock")
    is_generated = mock is not None and code is not None and code.co_filename == "<string>"
    return is_generated and issubclass(type(arguments.get("self")), mock.AsyncMock)  # type: ignore[union-attr]


def _call_of_mock(self: Any, args: tuple[Any, ...], kwargs: dict[str, Any], **_: object) -> Call:
    name = self._extract_mock_name()
    signature = self._spec_signature
    arguments = _unnamed(args, kwargs) if signature is None else _bound(signature, args, kwargs)
    return Call(name, type(self).__module__, arguments, None, self)


def _parameters(code: CodeType) -> tuple[str, ...]:
    several = bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount + several]


def _bound(signature: inspect.Signature, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    arguments = bound_arguments(signature, args, kwargs)
    return _unnamed(args, kwargs) if arguments is None else arguments


def _unnamed(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    return {"args": args, **kwargs} if args else dict(kwargs)
