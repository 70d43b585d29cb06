"""Lists and values that change, by the Python binding, against the fake server: as an app tests its screens."""

import asyncio
import unittest

import kith
from node import received, shown, told, within


class Token(kith.TokenSource):
    def __init__(self, server, name):
        self.server, self.name = server, name

    async def token(self, reason):
        return self.server.token(self.name)


class Lines(kith.LogSink):
    def __init__(self):
        self.lines = []

    def log(self, line):
        self.lines.append(line)


def texts(items):
    """Of records and own texts on their way alike."""
    return [item.message.text if item.is_RECORD() else item.echo.text for item in items]


class Lists(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        kith.uniffi_set_event_loop(asyncio.get_running_loop())
        self.server = await kith.FakeServer.start()
        self.room = self.server.direct("ann", "bob")

    async def open(self, name, log=None):
        options = kith.Options(url=self.server.address(), ca_pem=self.server.ca_pem(), retry_min_ms=10, retry_max_ms=50)
        client = await kith.ChatClient.open(options, Token(self.server, name), log)
        self.addAsyncCleanup(client.shut_down)
        return client

    async def test_an_own_text_keeps_its_key_from_its_echo_to_its_record(self):
        ann = await self.open("ann")
        timeline = await ann.timeline(self.room, kith.Anchor.LATEST())
        items = await shown(timeline, lambda items: True)
        self.assertEqual(items, [])
        number = await ann.send(self.room, "not online yet")
        await shown(timeline, lambda items: texts(items) == ["not online yet"], items)
        self.assertTrue(items[0].is_ECHO())
        echo = items[0].echo
        self.assertEqual((echo.number, echo.kind, echo.state), (number, kith.MessageKind.TEXT, kith.SendState.QUEUED()))
        waiting = await shown(ann.outbox(), lambda echoes: len(echoes) == 1)
        self.assertEqual(waiting, [echo])
        await within(30, ann.connect())
        await shown(timeline, lambda items: items[0].is_RECORD(), items)
        self.assertEqual((items[0].id, items[0].message.text), (echo.id, "not online yet"))
        seq = await within(30, ann.sent(self.room, number))
        await within(30, ann.sent(self.room, await ann.edit(self.room, seq, "online by now")))
        await shown(timeline, lambda items: texts(items) == ["online by now"], items)
        self.assertTrue(items[0].is_edited)
        self.assertEqual((ann.watch_behind().value(), await shown(ann.outbox(), lambda items: not items)), (0, []))

    async def test_a_refused_text_stays_until_it_is_sent_anew(self):
        ann = await self.open("ann")
        await within(30, ann.connect())
        timeline = await ann.timeline(self.room, kith.Anchor.LATEST())
        self.server.refuse("Muted")
        number = await ann.send(self.room, "refused at first")
        state = await told((await ann.watch_sending(self.room, number)), lambda state: state.is_FAILED())
        self.assertEqual(state.code, 3030)
        items = await shown(timeline, lambda items: texts(items) == ["refused at first"] and items[0].is_ECHO() and items[0].echo.state.is_FAILED())
        await ann.retry(self.room, number)
        await shown(timeline, lambda items: len(items) == 1 and items[0].is_RECORD(), items)
        self.assertEqual(self.server.texts(self.room), ["refused at first"])

    async def test_a_timeline_grows_in_both_directions(self):
        for count in range(300):
            self.server.say(self.room, "bob", f"{count}")
        ann = await self.open("ann")
        await within(30, ann.connect())
        await within(30, received(ann, "299"))
        timeline = await ann.timeline(self.room, kith.Anchor.SEQ(seq=150))
        items = await shown(timeline, lambda items: "149" in texts(items))
        first, last = int(texts(items)[0]), int(texts(items)[-1])
        self.assertTrue(0 < first < last < 299, (first, last))
        while await timeline.load_older(64):
            pass
        while await timeline.load_newer(64):
            pass
        await shown(timeline, lambda items: len(items) == 300, items)
        self.assertEqual(texts(items), [f"{count}" for count in range(300)])
        self.server.say(self.room, "bob", "new")
        await shown(timeline, lambda items: texts(items)[-1] == "new", items)

    async def test_the_list_of_conversations_and_what_is_unread_follow(self):
        ann = await self.open("ann")
        rows, unread = await ann.conversation_list(), await ann.watch_unread()
        items = await shown(rows, lambda items: not items)
        await within(30, ann.connect())
        self.server.say(self.room, "bob", "hello ann")
        other = self.server.direct("ann", "carl")
        await shown(rows, lambda items: [one.preview for one in items] == ["hello ann"], items)
        self.server.advance(1_000)
        self.server.say(other, "carl", "hello too")
        await shown(rows, lambda items: [one.channel for one in items] == [other, self.room], items)
        self.assertEqual((items[0].sender, items[0].peer), (self.server.user_of("carl"), self.server.user_of("carl")))
        await told(unread, lambda totals: (totals.channels, totals.messages) == (2, 2))
        await within(30, received(ann, "hello too"))
        await ann.mark_read(other, items[0].head)
        await told(unread, lambda totals: (totals.channels, totals.messages) == (1, 1))

    async def test_who_types_is_shown_until_they_have_said_it(self):
        ann, bob = await self.open("ann"), await self.open("bob")
        await within(30, asyncio.gather(ann.connect(), bob.connect()))
        typing = ann.watch_typing(self.room)
        self.assertEqual(typing.value(), [])
        await bob.typing(self.room)
        await told(typing, lambda users: users == [bob.me()])
        await bob.send(self.room, "said")
        await told(typing, lambda users: users == [])

    async def test_where_a_client_stands_is_told_to_the_end(self):
        log = Lines()
        ann = await self.open("ann", log)
        status = ann.watch_status()
        self.assertEqual(await status.next(), kith.Status.OFFLINE)
        await within(30, ann.connect())
        await told(status, lambda status: status == kith.Status.ONLINE)
        self.server.set_reachable(False)
        await told(status, lambda status: status in (kith.Status.OFFLINE, kith.Status.CONNECTING))
        self.server.set_reachable(True)
        await told(status, lambda status: status == kith.Status.ONLINE)
        self.server.refuse_next_session("Revoked")
        self.server.disconnect()
        await told(status, lambda status: status == kith.Status.CLOSED)
        self.assertEqual(ann.why_closed().name, "Revoked")
        self.assertIsNone(await within(30, status.next()), "there is nothing after the end")
        self.assertIn("the session ended, will resume", " ".join(line.text for line in log.lines))
        self.assertEqual({line.level for line in log.lines} - {kith.LogLevel.WARN}, {kith.LogLevel.DEBUG})

    async def test_a_list_that_is_given_up_leaves_the_client_whole(self):
        ann = await self.open("ann")
        timeline = await ann.timeline(self.room, kith.Anchor.LATEST())
        await timeline.next()
        waiting = asyncio.create_task(timeline.next())
        await asyncio.sleep(0.05)
        waiting.cancel()
        with self.assertRaises(asyncio.CancelledError):
            await waiting
        await within(30, ann.connect())
        self.server.say(self.room, "bob", "after a cancel")
        await shown(timeline, lambda items: texts(items) == ["after a cancel"])


if __name__ == "__main__":
    unittest.main()
