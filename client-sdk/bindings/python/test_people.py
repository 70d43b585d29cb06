"""People, groups, pushes and accounts by the Python binding, against a real node."""

import asyncio
import base64
import tempfile
import time
import unittest

import kith
from node import OverNode, received, told, until, within

NEWEST = (1 << 63) - 1


class Keeper(kith.LoginKeeper):
    def __init__(self):
        self.kept = []

    def keep(self, login):
        self.kept.append(login)


class People(OverNode):
    names = ("ann", "bob", "carl")

    async def test_two_become_contacts_see_each_other_and_part(self):
        ann, bob = await self.online("ann", "bob")
        presence = ann.watch_presence([bob.me()])
        await ann.contacts().request(bob.me())

        def has(client, user, state):
            async def holds():
                return [(one.user, one.state) for one in await client.contacts().list()] == [(user, state)]

            return until(f"there is {state}", holds)

        await has(bob, ann.me(), kith.ContactState.ASKING)
        self.assertEqual([one.name for one in await bob.contacts().list()], ["ann"])
        await bob.contacts().request(ann.me())
        await has(ann, bob.me(), kith.ContactState.MUTUAL)

        def is_(state):
            return lambda views: [view.state for view in views] == [state]

        await told(presence, is_(kith.PresenceKind.ONLINE))
        await bob.set_presence(kith.Presence.AWAY)
        await told(presence, is_(kith.PresenceKind.AWAY))
        self.assertEqual([view.state for view in await ann.presence([bob.me()])], [kith.PresenceKind.AWAY])
        await bob.set_private(True)
        await told(presence, is_(kith.PresenceKind.OFFLINE))
        await bob.set_private(False)
        await ann.contacts().block(bob.me())
        self.assertEqual([contact.state for contact in await ann.contacts().list()], [kith.ContactState.BLOCKED])
        await ann.contacts().unblock(bob.me())
        await ann.contacts().remove(bob.me())
        self.assertEqual([c for c in await ann.contacts().list() if c.state == kith.ContactState.MUTUAL], [])

    async def test_a_profile_is_changed_seen_and_found(self):
        ann, bob = await self.online("ann", "bob")
        fields = [kith.ProfileField(key="pronouns", value="they")]
        await bob.contacts().set_profile(kith.ProfileChange(display="Robert Harbourmaster", about="at sea", fields=fields))
        (profile,) = await ann.contacts().profiles([bob.me()])
        self.assertEqual((profile.name, profile.display, profile.about, profile.fields), ("bob", "Robert Harbourmaster", "at sea", fields))

        async def is_found():
            return [one for one in await ann.contacts().find("harbourm") if one.user == bob.me()]

        (found,) = await until("bob is found by a word of his display name", is_found)
        self.assertEqual(found.display, "Robert Harbourmaster")
        await bob.contacts().set_profile(kith.ProfileChange(about="", searchable=False))
        (profile,) = await ann.contacts().profiles([bob.me()])
        self.assertEqual((profile.display, profile.about), ("Robert Harbourmaster", ""))

    async def test_a_group_is_joined_by_a_link_and_run(self):
        ann, bob, carl = await self.online("ann", "bob", "carl")
        room = await ann.create_group("harbour", [])
        details = await ann.group(room)
        self.assertEqual((details.title, details.role, details.rules.approval), ("harbour", kith.MemberRole.OWNER, False))
        invited = await ann.invite(room)
        await self.done(ann, room, invited.number)
        self.assertEqual([link.link for link in (await ann.group(room)).links], [invited.link])
        self.assertEqual(await bob.join(invited.link), kith.JoinOutcome.MEMBER(channel=room))
        details.rules.approval = True
        await self.done(ann, room, await ann.set_rules(room, details.rules))
        self.assertEqual(await carl.join(invited.link), kith.JoinOutcome.PENDING())
        self.assertEqual([asked.user for asked in (await ann.group(room)).asked], [carl.me()])
        await self.done(ann, room, await ann.let_in(room, carl.me()))
        await self.done(ann, room, await ann.set_role(room, bob.me(), kith.MemberRole.ADMIN))
        await self.done(ann, room, await ann.describe(room, about="ships"))
        await self.done(ann, room, await ann.revoke(room, invited.link))
        seq = await self.done(ann, room, await ann.send(room, "welcome", mentions=[carl.me()]))
        welcome = await within(30, received(carl, "welcome"))
        self.assertEqual(welcome.mentions, [carl.me()])
        await self.done(ann, room, await ann.mute_member(room, carl.me(), NEWEST))
        with self.assertRaises(kith.ChatError.Failed) as caught:
            await self.done(carl, room, await carl.send(room, "may I?"))
        self.assertEqual((caught.exception.name, caught.exception.retry), ("Muted", kith.RetryAdvice.NEVER))
        self.assertEqual([echo.text for echo in carl.failed()], ["may I?"])
        self.assertIn("docs/sdk/errors.md#3030", caught.exception.section)
        await self.done(ann, room, await ann.ban(room, carl.me(), True))
        details = await ann.group(room)
        self.assertEqual((details.about, details.banned, details.links), ("ships", [carl.me()], []))
        await self.done(ann, room, await ann.hand_over(room, bob.me()))
        roles = {member.user: member.role for member in await bob.members(room)}
        self.assertEqual(roles, {ann.me(): kith.MemberRole.ADMIN, bob.me(): kith.MemberRole.OWNER})
        kinds = [(message.kind, message.users) for message in await bob.history(room, NEWEST, 100)]
        for kind, user in [("MEMBER_JOINED", None), ("MEMBER_ADDED", carl), ("ROLE_CHANGED", bob), ("BANNED", carl), ("HANDED_OVER", bob)]:
            self.assertIn((kith.MessageKind[kind], [user.me()] if user else []), kinds)

        await bob.mark_read(room, seq)

        async def is_seen():
            return bob.me() in (await ann.seen(room, seq)).read

        await until("bob has read it", is_seen)

    async def test_a_text_can_be_more_than_a_text(self):
        ann, bob = await self.online("ann", "bob")
        room, notes = await ann.direct("bob"), await ann.direct("ann")
        root = await self.done(ann, room, await ann.send(room, "the root"))
        await self.done(ann, room, await ann.post(room, kith.Post(text="in its thread", thread=root, ttl_ms=3_600_000)))
        reply = await within(30, received(bob, "in its thread"))
        self.assertEqual((reply.thread, reply.ttl_ms), (root, 3_600_000))
        copy = await self.done(ann, notes, await ann.forward(notes, room, root))
        (forwarded,) = [one for one in await ann.history(notes, NEWEST, 10) if one.seq == copy]
        self.assertEqual((forwarded.text, forwarded.origin.channel, forwarded.origin.seq), ("the root", room, root))
        await self.done(bob, room, await bob.react(room, root, "⚓", True))
        (anchor,) = await ann.reactions(room, root)
        self.assertEqual((anchor.emoji, anchor.users), ("⚓", [bob.me()]))
        page = await ann.history_page(room, kith.HistoryRange(around=root, limit=3))
        self.assertTrue(page.first <= root <= page.last and page.head >= page.last, page)
        await bob.report(room, root, "as a test")

    async def test_texts_are_sent_later_or_taken_back(self):
        ann, bob = await self.online("ann", "bob")
        room, now = await ann.direct("bob"), int(time.time() * 1_000)
        later = await ann.schedule(room, now + 3_600_000, kith.Post(text="in an hour"))
        outcome = await within(30, ann.outcome(room, later))
        (waiting,) = await ann.scheduled(room)
        self.assertEqual((outcome, waiting.post.text), (kith.Outcome.KEPT(id=waiting.id), "in an hour"))
        await self.done(ann, room, await ann.unschedule(room, waiting.id))
        self.assertEqual(await ann.scheduled(room), [])
        await self.done(ann, room, await ann.schedule(room, int(time.time() * 1_000) + 5_000, kith.Post(text="in a moment")))
        await within(30, received(bob, "in a moment"))

    async def test_how_a_conversation_stands_follows_the_user(self):
        (ann,), (phone,) = await self.online("ann"), await self.online("ann")
        room = await ann.create_group("drafts", [])
        await self.done(ann, room, await ann.send(room, "first"))
        await within(30, received(phone, "first"))

        async def row(holds):
            async def found():
                return [one for one in await phone.conversations() if one.channel == room and holds(one)]

            return (await until("the other device has it", found))[0]

        # The user's own list learns of a group a moment after the group is there.
        await row(lambda one: True)
        await ann.save_draft(room, kith.ConversationDraft(text="half a tho", reply_to=1))
        draft = (await row(lambda one: one.draft)).draft
        self.assertEqual((draft.text, draft.reply_to), ("half a tho", 1))
        await ann.pin_conversation(room, True)
        await row(lambda one: one.pinned_ms)
        self.assertEqual((await phone.listed(False, int(time.time() * 1_000)))[0].channel, room)
        await ann.mute_conversation(room, NEWEST)
        await row(lambda one: one.muted_until_ms == NEWEST)
        await ann.archive_conversation(room, True)
        await row(lambda one: one.archived_at)
        self.assertIn(room, [one.channel for one in await phone.listed(True, int(time.time() * 1_000))])
        head = (await row(lambda one: True)).head
        await ann.clear_conversation(room, head)
        self.assertEqual((await row(lambda one: one.cleared)).cleared, head)

    async def test_a_device_is_pushed_to_and_opens_what_it_gets(self):
        ann, bob = await self.online("ann", "bob")
        key = base64.urlsafe_b64encode(b"a key of at least 24 bytes").decode().rstrip("=")
        await bob.register_push(kith.PushTarget.WEBHOOK(url="https://kith.invalid/push", key=key))
        await bob.set_quiet_hours(kith.QuietHours(from_minute=1_320, to_minute=420))
        state = await bob.pushes()
        self.assertEqual([device.via for device in state.devices], [kith.PushVia.WEBHOOK])
        self.assertEqual(state.quiet, kith.QuietHours(from_minute=1_320, to_minute=420))
        with self.assertRaises(kith.ChatError.Failed) as caught:
            await bob.register_push(kith.PushTarget.WEBHOOK(url="ftp://x", key=key))
        self.assertEqual(caught.exception.name, "Invalid")
        room = await ann.direct("bob")
        seq = await self.done(ann, room, await ann.send(room, "pushed"))

        def payload(kind):
            user = int(bob.me()[1:], 16).to_bytes(8, "big")
            return bytes([1, kind]) + user + (3).to_bytes(4, "big") + bytes.fromhex(room) + seq.to_bytes(8, "big")

        opened = await within(30, bob.open_push(payload(2), 20_000))
        self.assertEqual((opened.message.text, opened.is_mention, opened.badge), ("pushed", True, 3))
        self.assertEqual(bob.taken_back(payload(3)), kith.TakenBack(channel=room, seq=seq))
        self.assertIsNone(bob.taken_back(payload(1)))
        await bob.mark_read(room, seq)

        async def is_read():
            return any(one.channel == room and one.read >= seq for one in await bob.conversations())

        await until("bob has read it", is_read)
        self.assertIsNone(await within(30, bob.open_push(payload(1), 20_000)), "what was read is not shown")
        with self.assertRaises(kith.ChatError.Failed):
            ann.taken_back(payload(3))
        await bob.set_quiet_hours(None)
        await bob.unregister_push()
        self.assertEqual((await bob.pushes()).devices, [])

    async def test_a_group_has_webhooks(self):
        (ann,) = await self.online("ann")
        hooks = ann.webhooks(await ann.create_group("hooks", []))
        added = await hooks.add("https://kith.invalid/hook", [kith.HookEvent.CREATED, kith.HookEvent.MEMBERS])
        self.assertEqual(len(added.key), 32)
        (hook,) = await hooks.list()
        self.assertEqual((hook.id, hook.events, hook.disabled_ms), (added.id, [kith.HookEvent.CREATED, kith.HookEvent.MEMBERS], None))
        await hooks.remove(added.id)
        self.assertEqual(await hooks.list(), [])

    async def test_what_was_said_is_found_page_by_page(self):
        ann, bob = await self.online("ann", "bob")
        room = await ann.create_group("search", ["bob"])
        for count in range(5):
            await self.done(ann, room, await ann.send(room, f"lighthouse number {count}"))
        await within(30, received(bob, "lighthouse number 4"))
        query = kith.SearchQuery(words="lighthouse", channel=room, limit=2)
        here = await bob.find_here(query)
        self.assertEqual([hit.excerpt for hit in here], ["lighthouse number 4", "lighthouse number 3"])
        self.assertEqual([(mark.first, mark.count) for mark in here[0].marks], [(0, 10)])

        async def all_pages():
            found, below = [], None
            while True:
                page = await bob.find_by(kith.SearchQuery(words="lighthouse", channel=room, limit=2, below=below))
                found += [hit.excerpt for hit in page.hits]
                if (below := page.next) is None:
                    return found if len(found) == 5 else None

        self.assertEqual(await until("all are found", all_pages), [f"lighthouse number {count}" for count in reversed(range(5))])
        self.assertEqual((await bob.search(kith.SearchQuery(sender=bob.me(), channel=room))).hits, [])


class Accounts(OverNode):
    names = ()

    async def enter(self, login):
        keeper = Keeper()
        client = await kith.ChatClient.open_login(self.node.options(), login, keeper)
        self.addAsyncCleanup(client.shut_down)
        await within(30, client.connect())
        return client

    async def test_an_account_is_looked_after_from_its_first_day_to_its_last(self):
        door = await kith.Door.open([self.node.listen], self.node.ca.read_text())
        new = await within(30, door.sign_up("dora", "correct horse battery", "laptop"))
        dora = await self.enter(new.login)
        account = dora.account()
        phone = await self.enter((await within(30, door.log_in("dora", "correct horse battery", "phone"))).login)
        titles = {device.title: device for device in await account.devices()}
        self.assertEqual({title: device.is_current for title, device in titles.items()}, {"laptop": True, "phone": False})
        await account.end_device(titles["phone"].id)
        closed = await told(phone.watch_status(), lambda status: status == kith.Status.CLOSED)
        self.assertEqual((closed, phone.why_closed().name, dora.why_closed()), (kith.Status.CLOSED, "Revoked", None))
        await account.rename("theodora")
        await account.change_password("correct horse battery", "another horse battery")
        code = await account.new_recovery_code("another horse battery")
        self.assertNotEqual(code, new.recovery)
        notes = await dora.direct("theodora")
        await self.done(dora, notes, await dora.send(notes, "a note"))

        async def whole_export():
            items = [item async for item in account.export()]
            return items if any(item.is_TEXT() for item in items) else None

        items = await until("the note is in the export", whole_export)
        self.assertEqual([item.profile.name for item in items if item.is_PROFILE()], ["theodora"])
        self.assertEqual([item.message.text for item in items if item.is_TEXT()], ["a note"])
        bot = await account.make_bot("dorabot")
        self.assertTrue(bot.token)
        self.assertEqual([one.name for one in await account.bots()], ["dorabot"])
        self.assertNotEqual((await account.bot_token(bot.user)).token, bot.token)
        await account.end_bot_token(bot.user)
        await account.delete_bot(bot.user)
        await within(30, door.reset_password("theodora", code, "a third horse battery"))
        back = await self.enter((await within(30, door.log_in("theodora", "a third horse battery", "laptop"))).login)
        with self.assertRaises(kith.ChatError.Failed) as caught:
            await back.account().delete("not it")
        self.assertEqual((caught.exception.name, caught.exception.kind), ("BadLogin", kith.ErrorClass.AUTH))
        await back.account().delete("a third horse battery")
        with self.assertRaises(kith.ChatError.Failed):
            await within(30, door.log_in("theodora", "a third horse battery", "laptop"))

    async def test_a_client_takes_the_way_it_is_told(self):
        door = await kith.Door.open([self.node.listen], self.node.ca.read_text(), transports=[kith.Transport.WEB_SOCKET])
        login = (await within(30, door.sign_up("eve", "correct horse battery", "laptop"))).login
        with tempfile.TemporaryDirectory() as folder:
            options = self.node.options(transports=[kith.Transport.WEB_SOCKET], store=folder, history_bytes_max=1 << 20)
            eve = await kith.ChatClient.open_login(options, login, Keeper())
            await within(30, eve.connect())
            self.assertEqual((eve.transport(), eve.salvage()), (kith.Transport.WEB_SOCKET, None))
            connection = eve.watch_connection().value()
            self.assertEqual((connection.edge, connection.next_try_ms), (self.node.listen, None))
            traffic = await eve.traffic()
            self.assertTrue(traffic.sent_bytes and traffic.received_bytes, traffic)
            await eve.shut_down()


if __name__ == "__main__":
    unittest.main()
