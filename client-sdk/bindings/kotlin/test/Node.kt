package test

import java.io.File
import java.net.ServerSocket
import java.net.URI
import java.net.http.HttpClient
import java.net.http.HttpRequest
import java.net.http.HttpResponse
import java.util.concurrent.TimeUnit
import kith.Options
import kotlin.io.path.createTempDirectory

/** A cluster of one node, in a folder of its own, of the program in KITH. */
class Node {
    private val folder: File = createTempDirectory("kith-kotlin-").toFile()
    private val data = File(folder, "data")
    val listen = "127.0.0.1:${port()}"
    private val http = "127.0.0.1:${port()}"
    private val process: Process = kith("start", "--single-node", "--data", "$data", "--listen", listen, "--http", http, "--until-stdin-closes")
        .redirectOutput(ProcessBuilder.Redirect.DISCARD).redirectError(ProcessBuilder.Redirect.DISCARD).start()

    init {
        var tries = 0
        while (!isReady()) {
            check(process.isAlive && tries++ < 600) { "the node is not ready" }
            Thread.sleep(100)
        }
    }

    private fun isReady(): Boolean = runCatching {
        val request = HttpRequest.newBuilder(URI("http://$http/readyz")).build()
        HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.discarding()).statusCode() == 200
    }.getOrDefault(false)

    val ca: File get() = File(data, "cluster/ca.pem")

    fun token(name: String): String {
        val asking = kith("token", name, "--cluster", "$data").redirectError(ProcessBuilder.Redirect.INHERIT).start()
        val token = asking.inputStream.bufferedReader().readText().trim()
        check(asking.waitFor() == 0) { "no token" }
        return token
    }

    fun options(store: String? = null, key: ByteArray? = null) = Options(url = listen, caPem = ca.readText(), store = store, storeKey = key)

    /** Runs a program of the class path, as somebody who has pasted it does. */
    fun run(main: String, token: String, typed: String = "", vararg arguments: String): String {
        val java = File(System.getProperty("java.home"), "bin/java").path
        val running = ProcessBuilder(java, "-cp", System.getProperty("java.class.path"), main, *arguments)
        running.environment() += mapOf("KITH_URL" to listen, "KITH_CA" to ca.path, "KITH_TOKEN" to token)
        val process = running.redirectError(ProcessBuilder.Redirect.INHERIT).start()
        process.outputStream.use { it.write(typed.toByteArray()) }
        val said = process.inputStream.bufferedReader().readText()
        check(process.waitFor(60, TimeUnit.SECONDS) && process.exitValue() == 0) { "$main ended with an error; it said: $said" }
        return said
    }

    fun stop() {
        process.destroyForcibly().waitFor()
        folder.deleteRecursively()
    }

    private fun kith(vararg arguments: String) = ProcessBuilder(System.getenv("KITH"), *arguments)

    private fun port() = ServerSocket(0).use { it.localPort }
}
