package kith

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/** Tokens by a function of the app. It is called when there is none, and when one was refused. */
fun tokens(give: suspend (TokenReason) -> String): TokenSource =
    object : TokenSource {
        override suspend fun token(reason: TokenReason): String = give(reason)
    }

/** What happens, from when the client was made until it is closed. For one collector: an event goes to one of them. */
fun ChatClient.events(): Flow<ChatEvent> = each { nextEvent() }

// Lists. Steps are for adapters; lists are whole after each step, and new each time.

/** Changes of the list of conversations, at first all of it. It is kept up to date while it is collected. */
fun ChatClient.conversationSteps(): Flow<ConversationStep> = held({ conversationList() }) { next() }

/** The list of conversations: pinned ones first, then the newest. It is kept up to date while it is collected. */
fun ChatClient.conversationLists(): Flow<List<Conversation>> = conversationSteps().lists { splice(it.at, it.removed, it.items) }

/** Changes of what is on its way, at first all of it. */
fun ChatClient.outboxSteps(): Flow<OutboxStep> = held({ outbox() }) { next() }

/** What is on its way. */
fun ChatClient.outboxLists(): Flow<List<Echo>> = outboxSteps().lists { splice(it.at, it.removed, it.items) }

/** Changes of the timeline, at first all of it. For one collector. */
fun ChatTimeline.steps(): Flow<TimelineStep> = each { next() }

/** The timeline. For one collector. */
fun ChatTimeline.lists(): Flow<List<TimelineItem>> = steps().lists { splice(it.at, it.removed, it.items) }

// Values that change: the one now, then each other one, watched while they are collected.

/** Where the client stands. */
fun ChatClient.statuses(): Flow<Status> = held({ watchStatus() }) { next() }

/** Which edge it is connected to. */
fun ChatClient.connections(): Flow<Connection> = held({ watchConnection() }) { next() }

/** What is unread over all conversations. */
fun ChatClient.unreads(): Flow<UnreadTotals> = held({ watchUnread() }) { next() }

/** How these users are, by id. */
fun ChatClient.presences(users: List<String>): Flow<List<PresenceView>> = held({ watchPresence(users) }) { next() }

/** Who types in a conversation, by id. */
fun ChatClient.typists(channel: String): Flow<List<String>> = held({ watchTyping(channel) }) { next() }

/** How far a write got. */
fun ChatClient.sendStates(channel: String, number: ULong): Flow<SendState> = held({ watchSending(channel, number) }) { next() }

/** All that the service holds of the user; after a text that was given before, or from the beginning. */
fun ChatAccount.items(after: String? = null): Flow<ExportItem> = held({ export(after) }) { next() }

private fun <T : Any> each(next: suspend () -> T?): Flow<T> = flow { while (true) emit(next() ?: break) }

private fun <H : AutoCloseable, T : Any> held(open: suspend () -> H, next: suspend H.() -> T?): Flow<T> =
    flow { open().use { while (true) emit(it.next() ?: break) } }

private fun <S, T> Flow<S>.lists(change: MutableList<T>.(S) -> Unit): Flow<List<T>> = flow {
    val items = mutableListOf<T>()
    collect { step ->
        items.change(step)
        emit(items.toList())
    }
}

private fun <T> MutableList<T>.splice(at: UInt, removed: UInt, items: List<T>) {
    subList(at.toInt(), (at + removed).toInt()).clear()
    addAll(at.toInt(), items)
}
