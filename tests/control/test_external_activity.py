"""Virtual time waits for threads, child processes and peers."""

import asyncio
import socket
import subprocess
import sys
import threading
import time

import anyio
import pytest
from aiohttp import ClientSession, ClientTimeout, web

from pytest_background_tasks import VirtualTime


class TestExternalActivity:
    """Time does not run ahead of real work."""

    async def test_time_waits_for_threads(self, virtual_time: VirtualTime) -> None:
        """The thread may be asyncio's, an executor's or anyio's; awaited alone, gathered, or with a timeout."""
        loop = asyncio.get_running_loop()

        def work() -> str:
            threading.Event().wait(0.05)
            return "done"

        async with asyncio.timeout(0.001):
            assert await asyncio.to_thread(work) == "done"
            assert await loop.run_in_executor(None, work) == "done"
            assert await asyncio.gather(*[loop.run_in_executor(None, work) for _ in range(2)]) == ["done"] * 2
            assert await anyio.to_thread.run_sync(work) == "done"
        assert virtual_time.now == 0

    async def test_idle_thread_pool_does_not_stop_time(self, virtual_time: VirtualTime, no_real_time: None) -> None:
        await asyncio.to_thread(list)
        await anyio.to_thread.run_sync(list)
        for _ in range(2000):
            await asyncio.sleep(3600)
        assert virtual_time.now == 7_200_000

    async def test_thread_of_a_library_gets_a_grace_period(self, virtual_time: VirtualTime) -> None:
        loop = asyncio.get_running_loop()
        answer = loop.create_future()
        threading.Timer(0.005, lambda: loop.call_soon_threadsafe(answer.set_result, "done")).start()
        async with asyncio.timeout(0.001):
            assert await answer == "done"

    @pytest.mark.parametrize(
        "code", ["time.sleep(0.1); print('done')", "print('done', flush=True); os.close(1); time.sleep(0.3)"]
    )
    async def test_time_waits_for_child_processes(self, virtual_time: VirtualTime, code: str) -> None:
        """This holds even if the process has no more output."""
        async with asyncio.timeout(0.001):
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-c", f"import os, time; {code}", stdout=subprocess.PIPE
            )
            assert (await process.communicate())[0] == b"done\n"
        assert virtual_time.now == 0

    async def test_peer_gets_a_grace_period(self, virtual_time: VirtualTime) -> None:
        """An open connection that is not in use does not hold back time."""
        with socket.create_server(("127.0.0.1", 0)) as server:

            def serve() -> None:
                peer, _ = server.accept()
                with peer:
                    while peer.recv(10):
                        threading.Event().wait(0.005)
                        peer.sendall(b"!")

            thread = threading.Thread(target=serve)
            thread.start()
            async with asyncio.timeout(1):
                reader, writer = await asyncio.open_connection(*server.getsockname())
                for _ in range(3):
                    writer.write(b"?")
                    assert await reader.readexactly(1) == b"!"
            assert virtual_time.now < 1
            start = time.monotonic()
            await asyncio.sleep(3600)
            assert time.monotonic() - start < 30
            writer.close()
            await writer.wait_closed()
            thread.join()

    async def test_aiohttp_server_and_client_have_no_spurious_timeout(self, virtual_time: VirtualTime) -> None:
        """No timeout fires wrongly; a sleep of an hour in another task, or in a handler, returns at once."""

        async def answer(request: web.Request) -> web.Response:
            await asyncio.sleep(float(request.query["after"]))
            return web.Response(text="x" * 300_000)

        app = web.Application()
        app.router.add_get("/", answer)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        start = time.monotonic()
        async with ClientSession(timeout=ClientTimeout(total=30)) as session:
            for after in (0, 10, 29):
                async with session.get(f"http://{host}:{port}/?after={after}") as response:
                    assert len(await response.text()) == 300_000
            with pytest.raises(TimeoutError):
                await session.get(f"http://{host}:{port}/?after=31")
            before = virtual_time.now
            await asyncio.sleep(3600)
            assert virtual_time.now - before == 3600
        await runner.cleanup()
        assert time.monotonic() - start < 30

    async def test_listening_server_does_not_stop_time(self, virtual_time: VirtualTime, no_real_time: None) -> None:
        async with await asyncio.start_server(lambda *_: None, "127.0.0.1", 0):
            for _ in range(2000):
                await asyncio.sleep(3600)
