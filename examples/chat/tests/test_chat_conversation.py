import asyncio
import logging
from unittest.mock import AsyncMock

import pytest
from starlette.testclient import TestClient

from resync.api.app import app
from resync.parts import use
from resync.store import Judgement, Memory, Verdict


def say(client, message, agent_id="ada"):
    with client.websocket_connect(f"/ws/{agent_id}") as conversation:
        conversation.send_text(message)
        return conversation.receive_text()


def test_answer_starts_an_audit_that_the_test_runs(client, store, background_tasks):
    background_tasks.start_capturing()

    assert say(client, "Is tea good?") == "ada: perhaps."

    assert background_tasks.task_count == 1
    [(coroutine, _args, _kwargs)] = background_tasks.captured_tasks
    assert coroutine.__qualname__ == "run_auditor_safely"
    assert asyncio.run(store.memories()) == [Memory(1, "ada", "Is tea good?", "ada: perhaps.")]
    assert asyncio.run(store.judgements()) == []

    assert background_tasks.run_all_sync() == [None]

    assert asyncio.run(store.judgements()) == [Judgement(1, Verdict.DOUBTFUL)]


def test_an_audit_outlives_the_client_whose_message_started_it(store, background_tasks):
    background_tasks.start_capturing()
    with TestClient(app) as client:
        say(client, "")

    background_tasks.run_all_sync()

    assert asyncio.run(store.memories()) == []


def test_each_answer_of_a_conversation_starts_an_audit(client, store, background_tasks):
    background_tasks.start_capturing()
    with client.websocket_connect("/ws/ada") as conversation:
        for count, message in enumerate(["Tea is good.", "Is it?", ""], start=1):
            conversation.send_text(message)
            conversation.receive_text()
            assert background_tasks.task_count == count
            background_tasks.run_all_sync()

    assert [memory.message for memory in asyncio.run(store.memories())] == ["Tea is good.", "Is it?"]
    assert asyncio.run(store.judgements()) == [Judgement(1, Verdict.RIGHT), Judgement(2, Verdict.DOUBTFUL)]


def test_failing_judge_is_logged_and_has_no_other_effect(client, store, background_tasks, caplog):
    background_tasks.start_capturing()
    with use(judge=AsyncMock(side_effect=ConnectionError("the judge is out"))):
        say(client, "Tea is good.")
        assert background_tasks.run_all_sync() == [None]

    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert str(record.exc_info[1]) == "the judge is out"
    assert asyncio.run(store.judgements()) == []


@pytest.mark.usefixtures("store")
def test_agent_can_be_replaced(client):
    async def shout(agent_id, message):
        return f"{agent_id} shouts {message.upper()}"

    with use(agent=shout):
        assert say(client, "hello", agent_id="grace") == "grace shouts HELLO"


@pytest.mark.usefixtures("store")
def test_stored_data_can_be_read_over_http(client, background_tasks):
    background_tasks.start_capturing()
    say(client, "Is it?")
    background_tasks.run_all_sync()

    assert client.get("/conversations").json() == [
        {"id": 1, "agent_id": "ada", "message": "Is it?", "answer": "ada: perhaps."}
    ]
    assert client.get("/audit").json() == [{"memory_id": 1, "verdict": "doubtful"}]


@pytest.mark.usefixtures("store")
def test_page_connects_to_an_existing_endpoint(client):
    assert '"ws/ada"' in client.get("/").text
    assert say(client, "hello", agent_id="ada") == "ada: hello"
