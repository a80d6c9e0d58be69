"""An external answer, in a test's fake of a server, a database or a device."""

import asyncio


async def answer() -> None:
    """Suspend until an external answer arrives, as in a fake of a server, a database or a device.

    A fake that sleeps says how long its answer takes. Usually that is unknown, so `answer` has no length: while
    exploring, the answer may come before or after anything else that happens, even after a later timer or timeout, up
    to five moments at which timers fire. Otherwise it is ``asyncio.sleep(0)``.

    >>> import asyncio
    >>> from pytest_background_tasks import answer
    >>> class FakeRates:
    ...     async def get(self, currency):
    ...         await answer()
    ...         return {"EUR": 1.0, "USD": 1.1}[currency]
    >>> asyncio.run(FakeRates().get("USD"))
    1.1
    """
    await asyncio.sleep(0)


async def answer_of_mock() -> None:
    """Suspend for one step. Mocks do this while exploring."""
    await asyncio.sleep(0)


KIND_OF_ANSWER = {answer.__code__: "answer", answer_of_mock.__code__: "mock"}
"""The kind of arrival of a bare yield in these functions."""
