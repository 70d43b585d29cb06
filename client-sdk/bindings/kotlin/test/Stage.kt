package test

import java.io.File
import kith.ChatClient
import kith.ChatException
import kith.FakeServer
import kith.MessageKind
import kith.Options
import kith.tokens
import kotlin.io.path.createTempDirectory
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.withTimeoutOrNull

/** More is not waited for. */
const val WITHIN_MS = 30_000L

/** One user with one device, and somebody else who talks to them: the steps of client-sdk/conformance. */
class Stage private constructor(private val scope: CoroutineScope, private val server: FakeServer) {
    private val folder: File = createTempDirectory("kith-stage-").toFile()
    private val room = server.direct("ann", "bob")
    private val numbers = mutableMapOf<String, ULong>()
    private var connecting: Job? = null
    private lateinit var client: ChatClient

    private suspend fun open() {
        val options = Options(url = server.address(), caPem = server.caPem(), store = folder.path)
        client = ChatClient.open(options, tokens { server.token("ann") })
    }

    private suspend fun close() {
        connecting?.cancelAndJoin()
        connecting = null
        client.shutDown()
        client.close()
    }

    suspend fun end() {
        close()
        folder.deleteRecursively()
        server.close()
    }

    private suspend fun held() = client.held(room, 1u, Long.MAX_VALUE.toULong(), 1_000u)

    /** What an app shows: what is held, then what is on its way or was refused. */
    private suspend fun shown(): List<String> {
        val held = held().filter { it.kind == MessageKind.TEXT }.map { it.text }
        return held + client.unsent(room).map { it.text }.filter { it !in held }
    }

    private suspend fun until(what: String, holds: suspend () -> Boolean) {
        withTimeoutOrNull(WITHIN_MS) { while (!holds()) delay(10) } ?: error("never: $what; shown are ${shown()}")
    }

    private suspend fun unread() = client.conversations().firstOrNull { it.channel == room }?.unread

    suspend fun step(verb: String, arguments: List<Any>) {
        val first = arguments.firstOrNull()
        val text = first as? String ?: ""
        when (verb) {
            "connect" -> connecting = scope.launch { client.connect() }
            "online" -> withTimeout(WITHIN_MS) { client.connect() }
            "send" -> numbers[text] = client.send(room, text)
            "sent" -> withTimeout(WITHIN_MS) { client.sent(room, numbers.getValue(text)) }
            "refused" -> {
                val why = runCatching { withTimeout(WITHIN_MS) { client.sent(room, numbers.getValue(text)) } }.exceptionOrNull()
                check(why is ChatException.Failed && why.name == arguments[1]) { "$text was not refused so, but: $why" }
            }
            "discard" -> client.discard(room, numbers.getValue(text))
            "say" -> server.say(room, "bob", text)
            "tunnel" -> server.setReachable(first != true)
            "lose" -> if (first == "answer") server.loseAnswer() else server.loseRequest()
            "refuse" -> server.refuse(text)
            "restart" -> {
                close()
                numbers.clear()
                open()
            }
            "shows" -> until("$first are shown") { shown() == first }
            "stands" -> check(server.texts(room) == first) { "there stand ${server.texts(room)}" }
            "unread" -> until("$first are unread") { unread() == (first as Long).toULong() }
            "read" -> client.markRead(room, held().last().seq)
            else -> error("a step that this runner does not know: $verb")
        }
    }

    companion object {
        suspend fun begin(scope: CoroutineScope): Stage = Stage(scope, FakeServer.start()).also { it.open() }
    }
}
