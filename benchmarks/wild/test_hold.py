"""The same kind of invariants, which no order breaks: a client that is cancelled at any point leaves nothing behind."""

import asyncio
from types import SimpleNamespace

import aiorwlock
import anyio
import pytest
from aiolimiter import AsyncLimiter
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool
from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool
from together import Together

from pytest_background_tasks import explore


async def one_at_a_time(enter):
    """Run three clients, one of which may be cancelled; then a fourth, which must be able to enter."""
    inside = Together()

    async def client():
        async with enter():
            with inside:
                await asyncio.sleep(0.01)

    tasks = [asyncio.create_task(client(), name=name) for name in "abc"]
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert not [each for each in outcomes if isinstance(each, Exception)]
    assert inside.most == 1
    async with asyncio.timeout(5):
        await client()


ANYIO = [
    anyio.Lock,
    lambda: anyio.Lock(fast_acquire=True),
    lambda: anyio.Semaphore(1),
    lambda: anyio.CapacityLimiter(1),
]


@pytest.mark.parametrize("make", ANYIO, ids=["lock", "fast lock", "semaphore", "limiter"])
@explore(faults="cancel:?")
async def test_anyio(make):
    entrance = make()
    await one_at_a_time(lambda: entrance)


@pytest.mark.parametrize("fast", [False, True])
@explore(faults="cancel:?")
async def test_aiorwlock(fast):
    lock = aiorwlock.RWLock(fast=fast)
    await one_at_a_time(lambda: lock.writer)


@explore(faults="cancel:?")
async def test_aiolimiter():
    limiter, taken = AsyncLimiter(2, 1), []

    async def client():
        async with limiter:
            taken.append(asyncio.get_running_loop().time())

    await asyncio.gather(*(asyncio.create_task(client(), name=name) for name in "abcdef"), return_exceptions=True)
    assert len(taken) >= 5
    assert all(later - first >= 0.999 for first, later in zip(taken, taken[4:], strict=False))


class PostgresConnection:
    autocommit, closed, _pool = True, False, None

    def __init__(self):
        self.pgconn = SimpleNamespace(transaction_status=TransactionStatus.IDLE)

    @classmethod
    async def connect(cls, *args, **kwargs):
        await asyncio.sleep(0.01)
        return cls()

    async def close(self):
        self.closed = True

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        pass


@explore(faults="cancel:?")
async def test_psycopg_pool():
    async with AsyncConnectionPool(connection_class=PostgresConnection, min_size=1, open=False) as pool:
        await one_at_a_time(pool.connection)


class RedisConnection(AbstractConnection):
    async def connect(self, *args, **kwargs):
        await asyncio.sleep(0.01)

    async def disconnect(self, *args, **kwargs):
        pass

    async def can_read(self, *args, **kwargs):
        return False

    can_read_destructive = can_read

    async def _connect(self):
        pass

    def repr_pieces(self):
        return []


class Borrowed:
    def __init__(self, pool):
        self.pool = pool

    async def __aenter__(self):
        self.connection = await self.pool.get_connection()

    async def __aexit__(self, *error):
        await self.pool.release(self.connection)


@explore(faults="cancel:?")
async def test_redis():  # where asyncio.Condition loses no notification: see test_found.py
    pool = BlockingConnectionPool(max_connections=1, timeout=20, connection_class=RedisConnection)
    await one_at_a_time(lambda: Borrowed(pool))
