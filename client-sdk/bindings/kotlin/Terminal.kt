/** A chat in a terminal with one other person: NAME as the argument; KITH_URL, KITH_CA (a file) and KITH_TOKEN; KITH_STORE is the folder of what lasts. */
package terminal

import java.io.File
import kith.ChatClient
import kith.ChatEvent
import kith.ChatException
import kith.MessageKind
import kith.Options
import kith.events
import kith.tokens
import kotlin.system.exitProcess
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withContext

/** Prints what comes, until the client is closed. */
suspend fun show(client: ChatClient, room: String) = client.events().collect { event ->
    if (event is ChatEvent.Received && event.message.channel == room && event.message.kind == MessageKind.TEXT) {
        val name = if (event.message.sender == client.me()) "I" else "they"
        println("${event.message.seq.toString().padStart(4)} $name: ${event.message.text}")
    }
}

/** Sends lines as they are typed, until there are no more. Each is stored before the next is read. */
suspend fun write(client: ChatClient, room: String) {
    while (true) {
        val line = withContext(Dispatchers.IO) { readlnOrNull() } ?: return
        if (line.isNotBlank()) client.send(room, line.trim())
    }
}

suspend fun chat(client: ChatClient, name: String) = coroutineScope {
    client.connect()
    val room = client.direct(name)
    val showing = launch { show(client, room) }
    write(client, room)
    // What is on its way comes back to the screen.
    delay(200)
    showing.cancel()
}

fun main(arguments: Array<String>) = runBlocking {
    val env = System.getenv()
    val options = Options(url = env.getValue("KITH_URL"), caPem = File(env.getValue("KITH_CA")).readText(), store = env["KITH_STORE"])
    val client = ChatClient.open(options, tokens { env.getValue("KITH_TOKEN") })
    try {
        chat(client, arguments.single())
    } catch (failed: ChatException.Failed) {
        System.err.println("${failed.name} (${failed.code}): ${failed.text}")
        exitProcess(1)
    } finally {
        client.shutDown()
    }
}
