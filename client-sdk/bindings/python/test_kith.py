"""The Python binding against a real node, which is started with the program in KITH."""

import asyncio
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

import kith
from node import ROOT, OverNode, Token, received, within


class Keeper(kith.LoginKeeper):
    def __init__(self):
        self.kept = []

    def keep(self, login):
        self.kept.append(login)


class Broken(kith.TokenSource):
    async def token(self, reason):
        raise RuntimeError("no network to ask for a token")


class Chat(OverNode):
    async def test_two_people_chat(self):
        ann, bob = await self.open("ann"), await self.open("bob")
        await within(30, asyncio.gather(ann.connect(), bob.connect()))
        self.assertEqual((ann.status(), ann.transport()), (kith.Status.ONLINE, kith.Transport.QUIC))
        room = await ann.direct("bob")
        number = await ann.send(room, "hello dear bob")
        seq = await within(30, ann.sent(room, number))
        message = await within(30, received(bob, "hello dear bob"))
        self.assertEqual((message.channel, message.seq, message.sender), (room, seq, ann.me()))
        self.assertEqual(await ann.state_of(room, number), kith.SendState.SENT(seq=seq, ts_ms=message.ts_ms))
        reply = await within(30, bob.sent(room, await bob.send(room, "hello ann", seq)))
        answer = await within(30, received(ann, "hello ann"))
        self.assertEqual((answer.seq, answer.reply_to), (reply, seq))
        page = await bob.history(room, reply, 2)
        self.assertEqual([message.text for message in page], ["hello dear bob", "hello ann"])
        await ann.mark_read(room, reply)
        rows = await ann.conversations()
        self.assertEqual([row.peer for row in rows if row.channel == room], [bob.me()])
        found = await ann.find("hello")
        self.assertLessEqual({seq, reply}, {hit.seq for hit in found.hits})

    async def test_a_group_has_its_members(self):
        ann, bob = await self.open("ann"), await self.open("bob")
        await within(30, asyncio.gather(ann.connect(), bob.connect()))
        room = await ann.create_group("harbour", ["bob"])
        await within(30, ann.sent(room, await ann.send(room, "all of you")))
        self.assertEqual((await within(30, received(bob, "all of you"))).channel, room)
        roles = {member.user: member.role for member in await ann.members(room)}
        self.assertEqual(roles, {ann.me(): kith.MemberRole.OWNER, bob.me(): kith.MemberRole.MEMBER})
        await within(30, bob.sent(room, await bob.leave(room)))
        self.assertEqual([member.user for member in await ann.members(room)], [ann.me()])

    async def test_what_is_done_to_a_text_is_told(self):
        ann, bob = await self.open("ann"), await self.open("bob")
        await within(30, asyncio.gather(ann.connect(), bob.connect()))
        room = await ann.direct("bob")
        seq = await within(30, ann.sent(room, await ann.send(room, "a mistaek")))
        await within(30, received(bob, "a mistaek"))
        await within(30, ann.sent(room, await ann.edit(room, seq, "a mistake")))
        edit = await within(30, received(bob, "a mistake"))
        self.assertEqual((edit.kind, edit.target), (kith.MessageKind.EDIT, seq))
        (text,) = await bob.held(room, seq, seq, 1)
        self.assertEqual((text.kind, text.text), (kith.MessageKind.TEXT, "a mistake"))
        await within(30, bob.sent(room, await bob.react(room, seq, "👍", True)))
        reaction = await within(30, received(ann, "👍"))
        self.assertEqual((reaction.kind, reaction.target, reaction.sender), (kith.MessageKind.REACTION, seq, bob.me()))
        await within(30, ann.sent(room, await ann.pin(room, seq, True)))
        await within(30, ann.sent(room, await ann.delete(room, seq)))
        (gone,) = [message for message in await ann.history(room, (1 << 63) - 1, 100) if message.seq == seq]
        self.assertEqual(gone.kind, kith.MessageKind.GONE)

    async def test_somebody_signs_up_and_comes_back(self):
        door = await kith.Door.open([self.node.listen], self.node.ca.read_text())
        entered = await within(30, door.sign_up("carol", "correct horse battery", "laptop"))
        self.assertTrue(entered.recovery)
        keeper = Keeper()
        with tempfile.TemporaryDirectory() as folder:
            carol = await kith.ChatClient.open_login(self.node.options(store=folder), entered.login, keeper)
            await within(30, carol.connect())
            self.assertEqual(carol.me(), entered.login.user)
            # What is used next was kept before.
            self.assertEqual([login.user for login in keeper.kept], [carol.me()])
            await carol.shut_down()
            again = await kith.ChatClient.open_login(self.node.options(store=folder), keeper.kept[-1], keeper)
            await within(30, again.connect())
            await again.shut_down()
        with self.assertRaises(kith.ChatError.Failed) as caught:
            await within(30, door.log_in("carol", "wrong", "laptop"))
        self.assertEqual(caught.exception.name, "BadLogin")

    async def test_errors_have_types(self):
        ann = await self.open("ann")
        await within(30, ann.connect())
        with self.assertRaises(kith.ChatError.Failed) as caught:
            await ann.direct("nobody-of-this-name")
        error = caught.exception
        self.assertEqual((error.code, error.name, error.kind), (3004, "NoSuchUser", kith.ErrorClass.DENIED))
        with self.assertRaises(kith.ChatError.Failed) as caught:
            await ann.send("no channel", "text")
        self.assertEqual(caught.exception.name, "Invalid")

    async def test_what_the_app_fails_with_is_an_error_and_no_crash(self):
        with self.assertRaises(kith.ChatError.Failed) as caught:
            await within(30, kith.ChatClient.open(self.node.options(), Broken()))
        self.assertIn("no network to ask for a token", caught.exception.text)

    async def test_what_is_queued_outlives_the_app_and_stands_once(self):
        with tempfile.TemporaryDirectory() as folder:
            first = await kith.ChatClient.open(self.node.options(store=folder), Token(self.tokens["ann"]))
            other = await self.open("bob")
            await within(30, other.connect())
            await within(30, first.connect())
            room = await first.direct("bob")
            await first.enter_background(30_000)
            await first.send(room, "queued in the background")
            await first.shut_down()
            second = await kith.ChatClient.open(self.node.options(store=folder), Token(self.tokens["ann"]))
            await within(30, second.connect())
            message = await within(30, received(other, "queued in the background"))
            page = await second.history(room, message.seq, 50)
            self.assertEqual([one.text for one in page].count("queued in the background"), 1)
            await second.shut_down()

    async def test_a_store_opens_with_its_key_alone(self):
        with tempfile.TemporaryDirectory() as folder:
            key = bytes(range(32))
            for given, trouble in [(key, None), (bytes(32), kith.StoreTrouble.WRONG_KEY), (None, kith.StoreTrouble.WRONG_KEY), (key, None)]:
                options = self.node.options(store=folder, store_key=given)
                if trouble is None:
                    client = await kith.ChatClient.open(options, Token(self.tokens["ann"]))
                    await client.shut_down()
                else:
                    with self.assertRaises(kith.ChatError.Failed) as caught:
                        await kith.ChatClient.open(options, Token(self.tokens["ann"]))
                    self.assertEqual(caught.exception.store_trouble, trouble)
            with self.assertRaises(kith.ChatError.Failed) as caught:
                await kith.ChatClient.open(self.node.options(store=folder, store_key=b"short"), Token(self.tokens["ann"]))
            self.assertEqual(caught.exception.name, "Invalid")

    async def test_a_call_that_is_given_up_leaves_the_client_whole(self):
        ann = await self.open("ann")
        waiting = asyncio.create_task(ann.next_event())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waiting
        await within(30, ann.connect())
        room = await ann.direct("bob")
        await within(30, ann.sent(room, await ann.send(room, "after a cancel")))
        await within(30, received(ann, "after a cancel"))

    async def test_a_text_given_up_in_time_never_stands(self):
        ann = await self.open("ann")
        bob = await self.open("bob")
        await within(30, asyncio.gather(ann.connect(), bob.connect()))
        room = await ann.direct("bob")
        await ann.enter_background(30_000)
        number = await ann.send(room, "never said")
        await ann.discard(room, number)
        await ann.enter_foreground()
        await within(30, ann.sent(room, await ann.send(room, "said instead")))
        self.assertEqual(await ann.state_of(room, number), kith.SendState.DISCARDED())
        page = await bob.history(room, (1 << 63) - 1, 50)
        self.assertNotIn("never said", [one.text for one in page])

    async def test_the_quickstart_works_as_pasted(self):
        text = (ROOT / "docs/sdk/quickstart.md").read_text(encoding="utf-8")
        (code,) = re.findall(r"^```python\n(.*?)^```$", text, re.S | re.M)
        self.assertLessEqual(len(code.strip().splitlines()), 16)
        environment = {**os.environ, "KITH_URL": self.node.listen, "KITH_CA": str(self.node.ca), "KITH_TOKEN": self.tokens["ann"]}
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertRegex(done.stdout, r"stands at \d+")

    async def test_the_terminal_example_sends_what_is_typed(self):
        bob = await self.open("bob")
        await within(30, bob.connect())
        environment = {**os.environ, "KITH_URL": self.node.listen, "KITH_CA": str(self.node.ca), "KITH_TOKEN": self.tokens["ann"]}
        example = pathlib.Path(__file__).parent / "terminal.py"
        await asyncio.to_thread(
            subprocess.run, [sys.executable, example, "bob"], env=environment, input="typed in a terminal\n", text=True, check=True, timeout=60
        )
        await within(30, received(bob, "typed in a terminal"))


if __name__ == "__main__":
    unittest.main()
