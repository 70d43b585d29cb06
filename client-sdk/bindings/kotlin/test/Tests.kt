/** The SDK for Kotlin on the JVM: what every SDK does alike, an app's own test against the fake server, and chats against the node of the program in KITH. */
package test

import java.io.File
import kith.ChatClient
import kith.ChatEvent
import kith.ChatException
import kith.Door
import kith.ErrorClass
import kith.FakeServer
import kith.LoginKeeper
import kith.Message
import kith.MessageKind
import kith.Options
import kith.SavedLogin
import kith.SendState
import kith.Status
import kith.StoreTrouble
import kith.Transport
import kith.events
import kith.tokens
import kotlin.io.path.createTempDirectory
import kotlin.system.exitProcess
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout

typealias Test = suspend CoroutineScope.() -> Unit

fun test(name: String, body: Test): Pair<String, Test> = name to body

fun same(found: Any?, wanted: Any?) = check(found == wanted) { "$found, and not $wanted" }

suspend fun failing(call: suspend () -> Any?): ChatException.Failed =
    try {
        val got = withTimeout(WITHIN_MS) { call() }
        error("it did not fail: $got")
    } catch (failed: ChatException.Failed) {
        failed
    }

suspend fun <T> within(call: suspend () -> T): T = withTimeout(WITHIN_MS) { call() }

/** The event of this text. */
suspend fun received(client: ChatClient, text: String): Message =
    within { (client.events().first { it is ChatEvent.Received && it.message.text == text } as ChatEvent.Received).message }

/** One test for each scenario. */
fun conformance(file: File): Map<String, Test> = (Json.read(file.readText()) as List<*>).associate { scenario ->
    check(scenario is Map<*, *>)
    test(scenario["name"] as String) {
        val stage = Stage.begin(this)
        try {
            for (step in scenario["steps"] as List<*>) {
                val parts = (step as List<*>).filterNotNull()
                stage.step(parts.first() as String, parts.drop(1))
            }
        } finally {
            stage.end()
        }
    }
}

/** As an app tests its own code: no cluster, and what goes wrong is said. */
val app: Map<String, Test> = mapOf(
    test("a refusal is shown to the user") {
        val server = FakeServer.start()
        val client = ChatClient.open(Options(url = server.address(), caPem = server.caPem()), tokens { server.token("ann") })
        within { client.connect() }
        server.refuse("Muted")
        val room = server.direct("ann", "bob")
        val number = client.send(room, "hello")
        same(failing { client.sent(room, number) }.code.toInt(), 3030)
        same(client.unsent(room).map { it.code?.toInt() }, listOf(3030))
        within { client.sent(room, client.retry(room, number)) }
        same(server.texts(room), listOf("hello"))
        client.shutDown()
    },
)

class Chats(private val node: Node, private val quickstart: String) {
    private val given = mapOf("ann" to node.token("ann"), "bob" to node.token("bob"))

    private suspend fun open(name: String, store: String? = null, key: ByteArray? = null) =
        ChatClient.open(node.options(store, key), tokens { delay(1); given.getValue(name) })

    suspend fun with(vararg names: String, chat: suspend (List<ChatClient>) -> Unit) {
        val clients = names.map { open(it) }
        try {
            clients.forEach { within { it.connect() } }
            chat(clients)
        } finally {
            clients.forEach { it.shutDown() }
        }
    }

    val tests: Map<String, Test> = mapOf(
        test("two people chat") {
            with("ann", "bob") { (ann, bob) ->
                same(ann.status() to ann.transport(), Status.ONLINE to Transport.QUIC)
                val room = ann.direct("bob")
                val number = ann.send(room, "hello dear bob")
                val seq = within { ann.sent(room, number) }
                val message = received(bob, "hello dear bob")
                same(Triple(message.channel, message.seq, message.sender), Triple(room, seq, ann.me()))
                same(ann.stateOf(room, number), SendState.Sent(seq, message.tsMs))
                val reply = within { bob.sent(room, bob.send(room, "hello ann", seq)) }
                same(received(ann, "hello ann").let { it.seq to it.replyTo }, reply to seq)
                same(bob.history(room, reply, 2u).map { it.text }, listOf("hello dear bob", "hello ann"))
                ann.markRead(room, reply)
                same(ann.conversations().filter { it.channel == room }.map { it.peer }, listOf(bob.me()))
                check(ann.find("hello").hits.map { it.seq }.containsAll(listOf(seq, reply)))
            }
        },
        test("a group has its members") {
            with("ann", "bob") { (ann, bob) ->
                val room = ann.createGroup("harbour", listOf("bob"))
                within { ann.sent(room, ann.send(room, "all of you")) }
                same(received(bob, "all of you").channel, room)
            }
        },
        test("errors have types") {
            with("ann") { (ann) ->
                val error = failing { ann.direct("nobody-of-this-name") }
                same(Triple(error.code.toInt(), error.name, error.kind), Triple(3004, "NoSuchUser", ErrorClass.DENIED))
                same(failing { ann.send("no channel", "text") }.name, "Invalid")
            }
        },
        test("what the app fails with is an error and no crash") {
            val error = failing { ChatClient.open(node.options(), tokens { error("no network to ask for a token") }) }
            check("no network to ask for a token" in error.text) { error.text }
        },
        test("what is queued outlives the app and stands once") {
            val folder = createTempDirectory("kith-store-").toFile()
            with("bob") { (bob) ->
                val first = open("ann", folder.path)
                within { first.connect() }
                val room = first.direct("bob")
                first.enterBackground(30_000u)
                first.send(room, "queued in the background")
                first.shutDown()
                val second = open("ann", folder.path)
                within { second.connect() }
                val seq = received(bob, "queued in the background").seq
                same(second.history(room, seq, 50u).count { it.text == "queued in the background" }, 1)
                second.shutDown()
            }
            folder.deleteRecursively()
        },
        test("what is done to a text is told") {
            with("ann", "bob") { (ann, bob) ->
                val room = ann.direct("bob")
                val seq = within { ann.sent(room, ann.send(room, "a mistaek")) }
                within { ann.sent(room, ann.edit(room, seq, "a mistake")) }
                same(received(bob, "a mistake").let { it.kind to it.target }, MessageKind.EDIT to seq)
                within { bob.sent(room, bob.react(room, seq, "👍", true)) }
                same(received(ann, "👍").let { it.kind to it.target }, MessageKind.REACTION to seq)
                within { ann.sent(room, ann.delete(room, seq)) }
                same(ann.history(room, Long.MAX_VALUE.toULong(), 100u).first { it.seq == seq }.kind, MessageKind.GONE)
            }
        },
        test("somebody signs up and comes back") {
            val door = Door.open(listOf(node.listen), node.ca.readText())
            val entered = within { door.signUp("carol", "correct horse battery", "laptop") }
            check(!entered.recovery.isNullOrEmpty())
            var kept = entered.login
            val keeper = object : LoginKeeper {
                override fun keep(login: SavedLogin) {
                    kept = login
                }
            }
            repeat(2) {
                val carol = ChatClient.openLogin(node.options(), kept, keeper)
                within { carol.connect() }
                same(carol.me(), entered.login.user)
                check(kept.refresh != entered.login.refresh) { "what is used next was kept before" }
                carol.shutDown()
            }
            same(failing { door.logIn("carol", "wrong", "laptop") }.name, "BadLogin")
        },
        test("a store opens with its key alone") {
            val folder = createTempDirectory("kith-store-").toFile()
            val key = ByteArray(32) { it.toByte() }
            open("ann", folder.path, key).shutDown()
            for (other in listOf(null, ByteArray(32))) same(failing { open("ann", folder.path, other) }.storeTrouble, StoreTrouble.WRONG_KEY)
            open("ann", folder.path, key).shutDown()
            folder.deleteRecursively()
        },
        test("a call that is given up leaves the client whole") {
            val ann = open("ann")
            val waiting = launch { ann.nextEvent() }
            delay(50)
            waiting.cancelAndJoin()
            within { ann.connect() }
            val room = ann.direct("bob")
            within { ann.sent(room, ann.send(room, "after a cancel")) }
            received(ann, "after a cancel")
            ann.shutDown()
        },
        test("the quickstart works as pasted") {
            val said = node.run(quickstart, given.getValue("ann"))
            check(Regex("stands at \\d+").matches(said.trim())) { said }
        },
        test("the terminal example sends what is typed") {
            with("bob") { (bob) ->
                node.run("terminal.TerminalKt", given.getValue("ann"), "typed in a terminal\n", "bob")
                received(bob, "typed in a terminal")
            }
        },
    )
}

fun main(arguments: Array<String>) {
    val (scenarios, quickstart) = arguments
    val node = Node()
    val chats = Chats(node, quickstart)
    var failed = 0
    val all = conformance(File(scenarios)) + app + screens + chats.tests + people { names, chat -> chats.with(*names, chat = chat) }
    for ((name, test) in all) {
        val result = runCatching { runBlocking { test() } }
        println("${if (result.isSuccess) "ok  " else "FAIL"} $name")
        result.exceptionOrNull()?.let { failed++; it.printStackTrace(System.out) }
    }
    node.stop()
    println("kotlin: ${all.size - failed} passed, $failed failed")
    exitProcess(if (failed == 0) 0 else 1)
}
