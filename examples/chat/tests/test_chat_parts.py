from contextlib import suppress
from pathlib import Path

import pytest

from resync.parts import Parts, parts_in_use, use
from resync.store import Store


@pytest.mark.asyncio
async def test_parts_are_replaced_until_the_block_ends_even_by_an_error(tmp_path):
    usual = await parts_in_use()
    with suppress(ZeroDivisionError), use(store=Store(tmp_path / "other.db")) as parts:
        assert await parts_in_use() is parts
        assert parts.store.path == tmp_path / "other.db"
        assert parts.agent is usual.agent
        raise ZeroDivisionError
    assert await parts_in_use() is usual


def test_environment_variable_sets_the_database_path(monkeypatch):
    monkeypatch.setenv("RESYNC_DATABASE", "/somewhere/else.db")
    assert Path(Parts().store.path) == Path("/somewhere/else.db")

    monkeypatch.delenv("RESYNC_DATABASE")
    assert Path(Parts().store.path) == Path("resync.db")
