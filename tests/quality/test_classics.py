"""Classic concurrency bugs: each passes in asyncio's default order, and is found with few deviations in few runs.

Each is a small program with a flag: broken or repaired. The table below gives the expected failure of the broken one.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeAlias

import pytest

from pytest_background_tasks import DeadlockError, Explorer, Schedule

Program: TypeAlias = Callable[[bool], Coroutine[Any, Any, None]]


async def io() -> None:
    """Stand for any external operation."""
    await asyncio.sleep(0)


class NoLock:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


def lock_if(repaired: bool) -> Any:
    return asyncio.Lock() if repaired else NoLock()


# Check, then act.


async def account(repaired: bool) -> None:
    """Two withdrawals, of which only one is covered; the second looks something up first."""
    balance, lock = 100, lock_if(repaired)

    async def withdraw() -> None:
        nonlocal balance
        async with lock:
            if balance >= 100:
                await io()
                balance -= 100

    async def look_up_and_withdraw() -> None:
        await io()
        await withdraw()

    await asyncio.gather(withdraw(), look_up_and_withdraw())
    assert balance == 0


async def cache_stampede(repaired: bool) -> None:
    """The value is computed twice, because the second reader comes before the first has stored it."""
    cache: dict[str, asyncio.Future[int] | int] = {}
    computed = 0

    async def compute() -> int:
        nonlocal computed
        computed += 1
        await io()
        return 42

    async def get() -> int:
        if "key" not in cache:
            if repaired:
                cache["key"] = asyncio.ensure_future(compute())
            else:
                cache["key"] = await compute()
        value = cache["key"]
        return value if isinstance(value, int) else await value

    async def get_later() -> int:
        await io()
        return await get()

    assert await asyncio.gather(get(), get_later()) == [42, 42]
    assert computed == 1


def lost_update(count: int) -> Program:
    """Each client reads, waits and writes; in the default order one after another."""

    async def program(repaired: bool) -> None:
        total, lock = 0, lock_if(repaired)

        async def add(number: int) -> None:
            nonlocal total
            for _ in range(number):
                await io()
            async with lock:
                before = total
                await io()
                total = before + 1

        await asyncio.gather(*map(add, range(count)))
        assert total == count

    return program


async def two_stage_update(repaired: bool) -> None:
    """Two values that belong together are written under two locks, one after the other."""
    first, second = 0, 0
    one, two = asyncio.Lock(), asyncio.Lock()
    both = lock_if(repaired)

    async def write() -> None:
        nonlocal first, second
        async with both:
            async with one:
                first = 1
            await io()
            async with two:
                second = first + 1

    async def read() -> None:
        for _ in range(2):
            await io()
        async with both:
            async with one:
                seen = first
            async with two:
                assert not seen or second == seen + 1

    await asyncio.gather(write(), read())


async def wrong_lock(repaired: bool) -> None:
    """One client takes another lock than the others."""
    total = 0
    right, wrong = asyncio.Lock(), asyncio.Lock()

    async def add(lock: asyncio.Lock, wait: int) -> None:
        nonlocal total
        for _ in range(wait):
            await io()
        async with lock:
            before = total
            await io()
            total = before + 1

    await asyncio.gather(add(right, 0), add(right, 0), add(right if repaired else wrong, 5))
    assert total == 3


# Waiting for each other.


async def opposite_locks(repaired: bool) -> None:
    """One task locks A, then B; the other locks B, then A."""
    a, b = asyncio.Lock(), asyncio.Lock()

    async def use(first: asyncio.Lock, second: asyncio.Lock, wait: int) -> None:
        for _ in range(wait):
            await io()
        async with first:
            await io()
            async with second:
                pass

    await asyncio.gather(use(a, b, 0), use(a, b, 1) if repaired else use(b, a, 1))


def dining_philosophers(count: int) -> Program:
    """All except the last sit down at once; the last finds the left fork in use."""

    async def program(repaired: bool) -> None:
        forks = [asyncio.Lock() for _ in range(count)]

        async def dine(number: int) -> None:
            left, right = number, (number + 1) % count
            if repaired:
                left, right = sorted((left, right))
            if number == count - 1:
                await io()
            async with forks[left]:
                await io()
                async with forks[right]:
                    pass

        await asyncio.gather(*map(dine, range(count)))

    return program


async def bounded_buffer(repaired: bool) -> None:
    """One condition for both sides, and a `notify` that may wake the wrong one."""
    buffer: list[int] = []
    condition = asyncio.Condition()

    def notify() -> None:
        if repaired:
            condition.notify_all()
        else:
            condition.notify()

    async def put(wait: int) -> None:
        for _ in range(wait):
            await io()
        async with condition:
            while buffer:
                await condition.wait()
            buffer.append(1)
            notify()

    async def get(wait: int) -> None:
        for _ in range(wait):
            await io()
        async with condition:
            while not buffer:
                await condition.wait()
            buffer.pop()
            notify()

    await asyncio.gather(get(0), put(0), get(2), put(2), put(3), get(4))


async def bluetooth_driver(repaired: bool) -> None:
    """The driver is stopped between the check and the count of a request (Qadeer and Wu, PLDI 2004)."""
    pending, is_stopping, is_stopped = 1, False, False
    idle = asyncio.Event()

    def leave() -> None:
        nonlocal pending
        pending -= 1
        if pending == 0:
            idle.set()

    async def request() -> None:
        nonlocal pending
        if repaired:
            pending += 1
        if is_stopping:
            if repaired:
                leave()
            return
        await io()
        if not repaired:
            pending += 1
        assert not is_stopped
        await io()
        leave()

    async def stop() -> None:
        nonlocal is_stopping, is_stopped
        await io()
        is_stopping = True
        leave()
        await idle.wait()
        is_stopped = True

    await asyncio.gather(request(), stop())


# Events that arrive in another order.


async def stale_answer(repaired: bool) -> None:
    """The answer to the first input comes last, and overwrites the newer one."""
    shown, newest = "", 0

    async def search(query: str, number: int) -> None:
        nonlocal shown, newest
        await io()
        if repaired and number < newest:
            return
        shown, newest = query, number

    await asyncio.gather(search("py", 1), search("pytest", 2))
    assert shown == "pytest"


async def timeout_against_success(repaired: bool) -> None:
    """The answer and the timeout come at the same moment: the order is paid, and given up."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[str] = loop.create_future()
    paid = False

    def succeed() -> None:
        nonlocal paid
        if repaired and answer.done():
            return
        paid = True
        if not answer.done():
            answer.set_result("paid")

    def give_up() -> None:
        if not answer.done():
            answer.set_result("given up")

    loop.call_later(0.001, succeed)
    loop.call_later(0.001, give_up)
    await asyncio.sleep(0.002)
    assert (answer.result() == "paid") == paid


async def resources_of_a_request(repaired: bool) -> None:
    """A background task writes to the session of a request that has ended."""
    is_open = True

    async def log() -> None:
        await io()
        assert is_open, "the session is closed"

    async def handle() -> None:
        nonlocal is_open
        background = asyncio.create_task(log())
        for _ in range(3):
            await io()
        if repaired:
            await background
        is_open = False

    await handle()
    await asyncio.sleep(0.002)


async def two_auditors(repaired: bool) -> None:
    """Two auditors flag the same memory: the second comes before the first has written its flag."""
    flags: list[int] = []
    lock = lock_if(repaired)

    async def audit() -> None:
        async with lock:
            await io()  # reads the flags
            is_known = bool(flags)
            await io()  # asks the model
            if not is_known:
                flags.append(7)

    async def audit_after_chat() -> None:
        for _ in range(2):
            await io()  # looks into the cache, and answers the user
        await audit()

    async with asyncio.TaskGroup() as group:
        group.create_task(audit())
        group.create_task(audit_after_chat())
    assert len(flags) == 1, f"memory 7 was flagged {len(flags)} times"


# Cancellation.


class Tokens:
    """A pool that hands a returned token to the first waiter."""

    def __init__(self, count: int, repaired: bool) -> None:
        self.free, self.repaired = count, repaired
        self.waiting: list[asyncio.Future[None]] = []

    async def take(self) -> None:
        if self.free:
            self.free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self.waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if self.repaired:
                if turn in self.waiting:
                    self.waiting.remove(turn)
                else:
                    self.give()
            raise

    def give(self) -> None:
        waiting = [turn for turn in self.waiting if not turn.cancelled()]
        self.waiting = waiting[1:]
        if waiting:
            waiting[0].set_result(None)
        else:
            self.free += 1


async def lost_token(repaired: bool) -> None:
    """A waiter is cancelled at the moment at which the token is handed to it; then the token is lost."""
    tokens = Tokens(1, repaired)

    async def client() -> None:
        await tokens.take()
        try:
            await io()
        finally:
            tokens.give()

    await asyncio.gather(client(), client(), return_exceptions=True)
    await tokens.take()


async def dirty_connection(repaired: bool) -> None:
    """Cancelled between question and answer, the connection returns to the pool with an answer still to come."""
    answers: list[str] = []
    lock = asyncio.Lock()

    async def ask(question: str) -> str:
        async with lock:
            answers.append(f"answer to {question}")
            try:
                await io()
            except asyncio.CancelledError:
                if repaired:
                    answers.clear()
                raise
            return answers.pop(0)

    await asyncio.gather(ask("first"), return_exceptions=True)
    assert await ask("second") == "answer to second"


class QueueOfWaiters:
    """A queue like anyio's `Lock` up to 4.13: a release skips a cancelled waiter, which stays in the queue."""

    def __init__(self, repaired: bool) -> None:
        self._owner: object = None
        self._waiters: list[tuple[object, asyncio.Future[None]]] = []
        self._repaired = repaired

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if self._owner is None and not self._waiters:
            self._owner = task
            return
        waiter = task, asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter[1]
        except asyncio.CancelledError:
            self._forget(waiter)
            if self._owner is task:
                self._release()
            raise
        self._forget(waiter)

    async def __aexit__(self, *_: object) -> None:
        self._release()

    def _forget(self, waiter: tuple[object, asyncio.Future[None]]) -> None:
        if waiter in self._waiters:
            self._waiters.remove(waiter)

    def _release(self) -> None:
        if self._repaired:
            self._waiters = [waiter for waiter in self._waiters if not waiter[1].cancelled()]
        for task, future in self._waiters:
            if not future.cancelled():
                self._owner = task
                future.set_result(None)
                return
        self._owner = None


async def passed_over(repaired: bool) -> None:
    """No task is left to wake the newcomer, which queued behind the cancelled waiter before that ran its step."""
    lock = QueueOfWaiters(repaired)

    async def use() -> None:
        async with lock:
            await io()

    await asyncio.gather(use(), use(), use(), return_exceptions=True)


@dataclass(frozen=True)
class Classic:
    """A program, its smallest failing schedule, the number of runs that may be needed, and the expected exception."""

    program: Program
    schedule: str
    runs: int
    error: type[BaseException] = AssertionError
    options: tuple[tuple[str, Any], ...] = ()


CLASSICS = {
    "account": Classic(account, "withdraw@1+1", 2),
    "cache stampede": Classic(cache_stampede, "get@1+1", 2),
    "lost update, 2 tasks": Classic(lost_update(2), "add#1@1+1", 2),
    "lost update, 3 tasks": Classic(lost_update(3), "add#1@1+1", 2),
    "lost update, 4 tasks": Classic(lost_update(4), "add#1@1+1", 2),
    "two-stage update": Classic(two_stage_update, "write@1+3", 2),
    "wrong lock": Classic(wrong_lock, "add#1@1+5", 2),
    "opposite locks": Classic(opposite_locks, "use#1@1+1", 2, DeadlockError),
    "3 dining philosophers": Classic(dining_philosophers(3), "dine#2@1+1", 3, DeadlockError),
    "5 dining philosophers": Classic(dining_philosophers(5), "dine#4@1+1", 5, DeadlockError),
    "bounded buffer": Classic(bounded_buffer, "put#2@0+5, put#3@3+3", 194, DeadlockError),
    "bluetooth driver": Classic(bluetooth_driver, "request@1+1", 2),
    "stale answer": Classic(stale_answer, "search#1@1+1", 2),
    "timeout against success": Classic(timeout_against_success, "main:timer#1+1", 2),
    "resources of a request": Classic(resources_of_a_request, "log@1+3", 3),
    "two auditors": Classic(two_auditors, "audit@2+3", 4),
    "lost token": Classic(lost_token, "client#2@1!cancel+0", 2, DeadlockError, (("faults", "cancel:client"),)),
    "passed over": Classic(passed_over, "use#1@0+3, use#3@1!cancel+0.0", 102, DeadlockError, (("faults", "cancel"),)),
    "dirty connection": Classic(dirty_connection, "ask@1!cancel", 2, AssertionError, (("faults", "cancel"),)),
}

for_each_classic = pytest.mark.parametrize("classic", CLASSICS.values(), ids=list(CLASSICS))


@for_each_classic
def test_broken_program_passes_in_the_default_order(classic: Classic) -> None:
    asyncio.run(classic.program(False))
    assert Explorer(replay=Schedule()).explore(lambda: classic.program(False)).failure is None


@for_each_classic
def test_bug_is_found_within_the_expected_runs(classic: Classic) -> None:
    """The search finds this schedule within this number of runs."""
    exploration = Explorer(**dict(classic.options)).explore(lambda: classic.program(False))
    assert exploration.failure is not None
    assert type(exploration.failure.error) is classic.error
    assert str(exploration.failure.schedule) == classic.schedule
    assert exploration.runs <= classic.runs


@for_each_classic
def test_repaired_program_has_no_failure(classic: Classic) -> None:
    explorer = Explorer(max_schedules=6000, **dict(classic.options))
    exploration = explorer.explore(lambda: classic.program(True))
    assert exploration.verdict in ("bounded", "exhaustive"), exploration
