package kith

import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow

/** Tokens by a function of the app. It is called when there is none, and when one was refused. */
fun tokens(give: suspend (TokenReason) -> String): TokenSource =
    object : TokenSource {
        override suspend fun token(reason: TokenReason): String = give(reason)
    }

/** What happens, from when the client was made until it is closed. For one collector: an event goes to one of them. */
fun ChatClient.events(): Flow<ChatEvent> = flow { while (true) emit(nextEvent() ?: break) }
