"""Failing tests for the screenshots of `make pictures`. Their programs are in tests/quality."""

import asyncio

from test_classics import dining_philosophers, io, lost_token, two_auditors, two_stage_update

from pytest_background_tasks import explore


@explore
async def test_a_memory_is_flagged_once():
    await two_auditors(repaired=False)


@explore
async def test_all_philosophers_dine():
    await dining_philosophers(3)(repaired=False)


@explore(faults="cancel:client")
async def test_no_token_is_lost():
    await lost_token(repaired=False)


@explore
async def test_what_is_read_belongs_together():
    await two_stage_update(repaired=False)


@explore(max_deviations=1)
async def test_a_thousand_steps():
    """Let each worker count in a separate round, unless one is delayed."""
    total = 0

    async def work(number: int) -> None:
        nonlocal total
        for turn in range(100):
            if turn % 10 != number:
                await io()
            elif turn == 70 + number:
                before = total
                await io()
                total = before + 1

    await asyncio.gather(*map(work, range(10)))
    assert total == 10
