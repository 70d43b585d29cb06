"""What every SDK does alike: the scenarios of client-sdk/conformance, against the fake server. And an app's own test, as an app has it."""

import asyncio
import json
import pathlib
import tempfile
import unittest

import kith

SCENARIOS = pathlib.Path(__file__).resolve().parents[2] / "conformance" / "scenarios.json"


class Token(kith.TokenSource):
    def __init__(self, server, name):
        self.server, self.name = server, name

    async def token(self, reason):
        return self.server.token(self.name)


class Stage:
    """One user with one device, and somebody else who talks to them."""

    async def begin(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kith-stage-")
        self.server = await kith.FakeServer.start()
        self.room = self.server.direct("ann", "bob")
        self.connecting, self.numbers = None, {}
        await self.open()

    async def open(self):
        options = kith.Options(url=self.server.address(), ca_pem=self.server.ca_pem(), store=self.folder.name)
        self.client = await kith.ChatClient.open(options, Token(self.server, "ann"))

    async def close(self):
        if self.connecting is not None:
            self.connecting.cancel()
            await asyncio.gather(self.connecting, return_exceptions=True)
            self.connecting = None
        await self.client.shut_down()

    async def end(self):
        await self.close()
        self.folder.cleanup()

    async def shown(self):
        """What an app shows: what is held, then what is on its way or was refused."""
        held = [message.text for message in await self.client.held(self.room, 1, (1 << 63) - 1, 1_000) if message.kind == kith.MessageKind.TEXT]
        waiting = [echo.text for echo in await self.client.unsent(self.room)]
        return held + [text for text in waiting if text not in held]

    async def until(self, what, holds):
        async def wait():
            while not await holds():
                await asyncio.sleep(0.01)

        try:
            await asyncio.wait_for(wait(), 30)
        except asyncio.TimeoutError:
            raise AssertionError(f"never: {what}; shown are {await self.shown()}") from None

    async def step(self, verb, *arguments):
        first = arguments[0] if arguments else None
        match verb:
            case "connect":
                self.connecting = asyncio.create_task(self.client.connect())
            case "online":
                await asyncio.wait_for(self.client.connect(), 30)
            case "send":
                self.numbers[first] = await self.client.send(self.room, first)
            case "sent":
                await asyncio.wait_for(self.client.sent(self.room, self.numbers[first]), 30)
            case "refused":
                try:
                    await asyncio.wait_for(self.client.sent(self.room, self.numbers[first]), 30)
                except kith.ChatError.Failed as error:
                    assert error.name == arguments[1], error
                else:
                    raise AssertionError(f"{first} was not refused")
            case "discard":
                await self.client.discard(self.room, self.numbers[first])
            case "say":
                self.server.say(self.room, "bob", first)
            case "tunnel":
                self.server.set_reachable(not first)
            case "lose":
                self.server.lose_answer() if first == "answer" else self.server.lose_request()
            case "refuse":
                self.server.refuse(first)
            case "restart":
                await self.close()
                self.numbers = {}
                await self.open()
            case "shows":

                async def are_shown():
                    return await self.shown() == first

                await self.until(f"{first} are shown", are_shown)
            case "stands":
                assert self.server.texts(self.room) == first, self.server.texts(self.room)
            case "unread":

                async def are_unread():
                    rows = await self.client.conversations()
                    return any(row.channel == self.room and row.unread == first for row in rows)

                await self.until(f"{first} are unread", are_unread)
            case "read":
                held = await self.client.held(self.room, 1, (1 << 63) - 1, 1_000)
                await self.client.mark_read(self.room, held[-1].seq)
            case _:
                raise AssertionError(f"a step that this runner does not know: {verb}")


class Conformance(unittest.IsolatedAsyncioTestCase):
    async def test_every_scenario_holds(self):
        kith.uniffi_set_event_loop(asyncio.get_running_loop())
        for scenario in json.loads(SCENARIOS.read_text(encoding="utf-8")):
            with self.subTest(scenario["name"]):
                stage = Stage()
                await stage.begin()
                try:
                    for step in scenario["steps"]:
                        await stage.step(*step)
                finally:
                    await stage.end()


class App(unittest.IsolatedAsyncioTestCase):
    """As an app tests its own code: no cluster, and what goes wrong is said."""

    async def test_a_refusal_is_shown_to_the_user(self):
        kith.uniffi_set_event_loop(asyncio.get_running_loop())
        server = await kith.FakeServer.start()
        client = await kith.ChatClient.open(kith.Options(url=server.address(), ca_pem=server.ca_pem()), Token(server, "ann"))
        await client.connect()
        server.refuse("Muted")
        room = server.direct("ann", "bob")
        number = await client.send(room, "hello")
        with self.assertRaises(kith.ChatError.Failed) as caught:
            await client.sent(room, number)
        self.assertEqual(caught.exception.code, 3030)
        self.assertEqual([echo.code for echo in await client.unsent(room)], [3030])
        again = await client.retry(room, number)
        await client.sent(room, again)
        self.assertEqual(server.texts(room), ["hello"])
        await client.shut_down()


if __name__ == "__main__":
    unittest.main()
