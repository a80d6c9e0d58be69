"""Django's asynchronous ORM and Channels in virtual time: each test runs a hundred times and passes.

asgiref awaits ``shield(run_in_executor(...))``, so no task awaits a thread's result directly. The project runs in a
separate process, because a process has one configuration of Django.
"""

import pytest

PROJECT = '''
import asyncio
import time

import django
import pytest
from asgiref.sync import ThreadSensitiveContext, async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from django.conf import settings

settings.configure(
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "shop.db"}},
    CHANNEL_LAYERS={"default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}},
    INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
)
django.setup()

from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from django.contrib.auth.models import User
from django.core.management import call_command
from django.db import connection

hundred = pytest.mark.parametrize("number", range(100))


@hundred
async def test_sync_to_async(number, virtual_time):
    async with asyncio.timeout(0.001):
        assert await sync_to_async(lambda: time.sleep(0.001) or number)() == number
    assert virtual_time.now == 0


@hundred
async def test_thread_waits_for_the_loop(number, virtual_time):
    """The thread waits for the loop, and time goes on for it."""

    async def answer():
        await asyncio.sleep(60)
        return number

    async with asyncio.timeout(61):
        assert await sync_to_async(async_to_sync(answer))() == number
    assert virtual_time.now == 60


@pytest.fixture(scope="module")
def database():
    call_command("migrate", verbosity=0)
    connection.close()


@hundred
async def test_queries(number, database, virtual_time):
    async with ThreadSensitiveContext():
        async with asyncio.timeout(0.001):
            await User.objects.acreate(username=f"ada{number}")
            assert await User.objects.filter(username=f"ada{number}").acount() == 1
            assert f"ada{number}" in [user.username async for user in User.objects.all()]
        await sync_to_async(lambda: connection.close())()
    assert virtual_time.now == 0


class Chat(AsyncWebsocketConsumer):
    async def connect(self):
        await self.channel_layer.group_add("room", self.channel_name)
        await self.accept()

    async def receive(self, text_data=None, bytes_data=None):
        length = await database_sync_to_async(len)(text_data)
        await self.channel_layer.group_send("room", {"type": "say", "text": f"{text_data} {length}"})

    async def say(self, event):
        await self.send(text_data=event["text"])


@hundred
async def test_channels(number, virtual_time):
    clients = [ApplicationCommunicator(Chat.as_asgi(), {"type": "websocket", "path": "/"}) for _ in range(2)]
    for client in clients:
        await client.send_input({"type": "websocket.connect"})
        assert (await client.receive_output(timeout=0.001))["type"] == "websocket.accept"
    await clients[0].send_input({"type": "websocket.receive", "text": "hello"})
    for client in clients:
        assert (await client.receive_output(timeout=0.001))["text"] == "hello 5"
        await client.send_input({"type": "websocket.disconnect", "code": 1000})
        await client.wait(timeout=0.001)
    assert virtual_time.now == 0
'''


def test_django_and_channels_on_virtual_time(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_shop=PROJECT)
    options = ("asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function")
    settings = [word for option in options for word in ("-o", option)]
    result = pytester.runpytest_subprocess("-q", "-p", "no:randomly", "-W", "error", *settings)
    result.assert_outcomes(passed=400)
