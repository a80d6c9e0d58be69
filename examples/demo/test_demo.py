"""A narrated demonstration of the plugin on the example application: `make demo`."""
# ruff: noqa: D103, T201 - the test prints its narration

import asyncio
from collections import Counter
from itertools import count

from starlette.testclient import TestClient

from pytest_background_tasks import Explorer
from resync.api.app import app
from resync.auditor import analyze_and_flag_memories
from resync.parts import use
from resync.store import Store

MESSAGES = ["Tea is good.", "Is it?", ""]


def test_demo(background_tasks, tmp_path):
    print("The chat service in examples/chat answers a message, stores it, and starts an audit in the background that")
    print("deletes empty answers and flags doubtful ones. No code awaits that audit. How do you test it?")

    print("\n1. Without the plugin: talk, query the database, and hope. The same conversation thirty times:\n")
    outcomes = Counter(judged_after_a_conversation(Store(tmp_path / f"{number}.db")) for number in range(30))
    for number, times in sorted(outcomes.items()):
        print(f"     {number} of {len(MESSAGES)} answers had been judged when the test checked: {times:2} times")

    print("\n2. With the plugin, the test holds the background tasks:  background_tasks.start_capturing()\n")
    background_tasks.start_capturing()
    store = Store(tmp_path / "held.db")
    with use(store=store), TestClient(app) as client:
        for message, answer in conversation(client):
            print(f"     we send {message!r:15} the agent answers {answer!r}")
        captured_tasks = background_tasks.captured_tasks
        show(captured_tasks)
        show_database(store)

        print("\n3. It runs one task, which deletes and flags:  background_tasks.run_sync(captured_tasks[0])\n")
        background_tasks.run_sync(captured_tasks[0])
        show(captured_tasks)
        show_database(store)

        print("\n4. It runs the others, which have nothing left to do:  background_tasks.run_all_sync()\n")
        background_tasks.run_all_sync()
        show(captured_tasks)

    print("\n5. Two concurrent audits, in every order that asyncio could produce:  Explorer().explore(scenario)\n")
    print(f"     in asyncio's default order  {explored(tmp_path, max_deviations=0)}")
    print(f"     with delayed results        {explored(tmp_path, arrivals='thread')}")
    print("     The schedule names the task and the step whose result was delayed: both audits judge the same memory.")

    print("\nThe result is the same every time. This was the test in examples/demo/test_demo.py; pytest reports:")
    assert judged(store) == len(MESSAGES)


def conversation(client):
    with client.websocket_connect("/ws/ada") as websocket:
        for message in MESSAGES:
            websocket.send_text(message)
            yield message, websocket.receive_text()


def judged_after_a_conversation(store):
    with use(store=store), TestClient(app) as client:
        list(conversation(client))
        return judged(store)


def judged(store):
    deleted = len(MESSAGES) - len(asyncio.run(store.memories()))
    return deleted + len({judgement.memory_id for judgement in asyncio.run(store.judgements())})


def explored(folder, **options):
    runs = count()

    async def scenario():
        with use(store=Store(folder / f"explored-{next(runs)}-{'-'.join(options)}.db")) as parts:
            await parts.store.add("ada", "Is it?", "perhaps")
            await asyncio.gather(analyze_and_flag_memories(), audit_after_a_look(parts.store))
            assert len(await parts.store.judgements()) == 1

    return Explorer(**options).explore(scenario)


async def audit_after_a_look(store):
    await store.memories()
    await analyze_and_flag_memories()


def show(captured_tasks):
    print("     captured:")
    for task in captured_tasks:
        print(
            f"       {task.function}({task.arguments or ''})  {task.state}  {task.name}, created at {task.created_at}"
        )


def show_database(store):
    verdicts = {judgement.memory_id: judgement.verdict for judgement in asyncio.run(store.judgements())}
    print("     in the database:")
    for memory in asyncio.run(store.memories()):
        print(f"       {memory.answer!r:20} {verdicts.get(memory.id, 'not judged')}")
