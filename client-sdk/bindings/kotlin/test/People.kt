package test

import kith.ChatClient
import kith.ContactState
import kith.ConversationDraft
import kith.ExportItem
import kith.JoinOutcome
import kith.MemberRole
import kith.Outcome
import kith.Post
import kith.Presence
import kith.PresenceKind
import kith.ProfileChange
import kith.PushTarget
import kith.PushVia
import kith.items
import kith.presences
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.toList

/** Asks again until it holds. */
private suspend fun eventually(holds: suspend () -> Boolean) = within { while (!holds()) delay(20) }

private suspend fun done(client: ChatClient, room: String, number: ULong): ULong = within { client.sent(room, number) }

/** People, groups, texts for later, drafts and pushes, against the node. */
fun people(with: suspend (Array<out String>, suspend (List<ChatClient>) -> Unit) -> Unit): Map<String, Test> {
    suspend fun among(vararg names: String, chat: suspend (List<ChatClient>) -> Unit) = with(names, chat)
    return mapOf(
        test("two become contacts and see each other") {
            among("ann", "bob") { (ann, bob) ->
                ann.contacts().request(bob.me())
                eventually { bob.contacts().list().map { it.user to it.state } == listOf(ann.me() to ContactState.ASKING) }
                bob.contacts().request(ann.me())
                eventually { ann.contacts().list().map { it.state } == listOf(ContactState.MUTUAL) }
                ann.presences(listOf(bob.me())).until { it.single().state == PresenceKind.ONLINE }
                bob.setPresence(Presence.AWAY)
                ann.presences(listOf(bob.me())).until { it.single().state == PresenceKind.AWAY }
                ann.contacts().block(bob.me())
                same(ann.contacts().list().map { it.state }, listOf(ContactState.BLOCKED))
                ann.contacts().unblock(bob.me())
                ann.contacts().remove(bob.me())
            }
        },
        test("a profile is changed, seen and found") {
            among("ann", "bob") { (ann, bob) ->
                bob.contacts().setProfile(ProfileChange(display = "Robert Harbourmaster", about = "at sea"))
                same(ann.contacts().profiles(listOf(bob.me())).single().let { it.name to it.display }, "bob" to "Robert Harbourmaster")
                eventually { ann.contacts().find("harbourm").any { it.user == bob.me() } }
            }
        },
        test("a group is joined by a link and run") {
            among("ann", "bob") { (ann, bob) ->
                val room = ann.createGroup("harbour", emptyList())
                val invited = ann.invite(room)
                done(ann, room, invited.number)
                same(bob.join(invited.link), JoinOutcome.Member(room))
                done(ann, room, ann.setRules(room, ann.group(room).rules.copy(slowMs = 60_000u)))
                done(ann, room, ann.setRole(room, bob.me(), MemberRole.ADMIN))
                done(ann, room, ann.describe(room, about = "ships"))
                val group = bob.group(room)
                same(listOf(group.title, group.about, group.role, group.rules.slowMs), listOf("harbour", "ships", MemberRole.ADMIN, 60_000uL))
                done(ann, room, ann.revoke(room, invited.link))
                same(ann.group(room).links, emptyList<Any>())
            }
        },
        test("texts are sent later, and drafts kept") {
            among("ann", "bob") { (ann, bob) ->
                val room = ann.createGroup("later", listOf("bob"))
                val number = ann.schedule(room, (System.currentTimeMillis() + 3_600_000).toULong(), Post(text = "in an hour"))
                val outcome = within { ann.outcome(room, number) }
                val waiting = ann.scheduled(room).single()
                same(outcome to waiting.post.text, Outcome.Kept(waiting.id) to "in an hour")
                done(ann, room, ann.unschedule(room, waiting.id))
                same(ann.scheduled(room), emptyList<Any>())
                done(ann, room, ann.schedule(room, (System.currentTimeMillis() + 5_000).toULong(), Post(text = "in a moment")))
                received(bob, "in a moment")
                ann.saveDraft(room, ConversationDraft(text = "half a tho"))
                ann.pinConversation(room, true)
                eventually { ann.conversations().any { it.channel == room && it.draft?.text == "half a tho" && it.pinnedMs != null } }
            }
        },
        test("a device is pushed to, and all that is held of a user is given") {
            among("bob") { (bob) ->
                bob.registerPush(PushTarget.Webhook("https://kith.invalid/push", "YSBrZXkgb2YgYXQgbGVhc3QgMjQgYnl0ZXM"))
                same(bob.pushes().devices.map { it.via }, listOf(PushVia.WEBHOOK))
                bob.unregisterPush()
                same(bob.pushes().devices, emptyList<Any>())
                same(failing { bob.takenBack(byteArrayOf(1, 2, 3)) }.name, "Invalid")
                val items = within { bob.account().items().toList() }
                same(items.filterIsInstance<ExportItem.Profile>().map { it.profile.name }, listOf("bob"))
            }
        },
    )
}
