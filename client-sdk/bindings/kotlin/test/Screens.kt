package test

import kith.Anchor
import kith.ChatClient
import kith.FakeServer
import kith.Options
import kith.SendState
import kith.Status
import kith.TimelineItem
import kith.conversationLists
import kith.lists
import kith.outboxLists
import kith.sendStates
import kith.statuses
import kith.tokens
import kith.typists
import kith.unreads
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.first

/** Reads until it is as wanted; gives it. */
suspend fun <T> Flow<T>.until(isWanted: (T) -> Boolean): T = within { first(isWanted) }

private val TimelineItem.text get() = when (this) {
    is TimelineItem.Record -> message.text
    is TimelineItem.Echo -> echo.text
}

private val TimelineItem.id get() = when (this) {
    is TimelineItem.Record -> id
    is TimelineItem.Echo -> id
}

private suspend fun over(vararg names: String, body: suspend (FakeServer, String, List<ChatClient>) -> Unit) {
    FakeServer.start().use { server ->
        val clients = names.map { name -> ChatClient.open(Options(url = server.address(), caPem = server.caPem()), tokens { server.token(name) }) }
        try {
            body(server, server.direct("ann", "bob"), clients)
        } finally {
            clients.forEach { it.shutDown() }
        }
    }
}

/** Lists and values that change, against the fake server: as an app tests its screens. */
val screens: Map<String, Test> = mapOf(
    test("an own text keeps its key from its echo to its record") {
        over("ann") { server, room, (ann) ->
            val number = ann.send(room, "not online yet")
            val echo = ann.timeline(room, Anchor.Latest).use { it.lists().until { items -> items.size == 1 }.single() }
            same(echo is TimelineItem.Echo && echo.echo.state == SendState.Queued, true)
            same(ann.outboxLists().until { it.isNotEmpty() }.map { it.number }, listOf(number))
            within { ann.connect() }
            val record = ann.timeline(room, Anchor.Latest).use { it.lists().until { items -> items.singleOrNull() is TimelineItem.Record }.single() }
            same(record.id to record.text, echo.id to "not online yet")
            same(ann.sendStates(room, number).until { it is SendState.Sent }, ann.stateOf(room, number))
            same(ann.outboxLists().until { it.isEmpty() }, emptyList<Any>())
            same(server.texts(room), listOf("not online yet"))
        }
    },
    test("a timeline grows in both directions") {
        over("ann") { server, room, (ann) ->
            repeat(300) { server.say(room, "bob", "$it") }
            within { ann.connect() }
            received(ann, "299")
            ann.timeline(room, Anchor.Seq(150u)).use { timeline ->
                while (within { timeline.loadOlder(64u) }) Unit
                while (within { timeline.loadNewer(64u) }) Unit
                same(timeline.lists().until { it.size == 300 }.map { it.text }, List(300) { "$it" })
            }
        }
    },
    test("conversations, what is unread and who types follow") {
        over("ann", "bob") { server, room, (ann, bob) ->
            within { ann.connect() }
            within { bob.connect() }
            server.say(room, "bob", "hello ann")
            same(ann.conversationLists().until { rows -> rows.any { it.unread == 1uL } }.map { it.preview }, listOf("hello ann"))
            ann.unreads().until { it.messages == 1uL && it.channels == 1uL }
            received(ann, "hello ann")
            ann.markRead(room, 1u)
            ann.unreads().until { it.messages == 0uL }
            // It is told to who looks.
            ann.watchTyping(room).use { typing ->
                bob.typing(room)
                ann.typists(room).until { true }
                while (typing.value() != listOf(bob.me())) within { typing.next() }
            }
        }
    },
    test("where a client stands is told to the end") {
        over("ann") { server, _, (ann) ->
            within { ann.connect() }
            server.refuseNextSession("Revoked")
            server.disconnect()
            ann.statuses().until { it == Status.CLOSED }
            same((ann.whyClosed() as? kith.ChatException.Failed)?.name, "Revoked")
        }
    },
)
