// A chat in a terminal with one other person: NAME as the argument; KITH_URL, KITH_CA (a file) and KITH_TOKEN; KITH_STORE is the folder of what lasts.
import Foundation

final class EnvironmentToken: TokenSource {
    func token(reason: TokenReason) async throws -> String {
        ProcessInfo.processInfo.environment["KITH_TOKEN"] ?? ""
    }
}

/// Prints what comes, until the client is closed.
func show(client: ChatClient, room: String) async {
    for await event in client.events {
        guard case .received(let message) = event, message.channel == room, message.kind == .text else { continue }
        let name = message.sender == client.me() ? "I" : "they"
        print("\(message.seq) \(name): \(message.text)")
    }
}

/// Lines as they are typed: read by a thread, so that nothing else waits for them.
func typed() -> AsyncStream<String> {
    AsyncStream { lines in
        Thread.detachNewThread {
            while let line = readLine() { lines.yield(line) }
            lines.finish()
        }
    }
}

/// Sends lines as they are typed, until there are no more. Each is stored before the next is taken.
func write(client: ChatClient, room: String) async throws {
    for await line in typed() {
        let text = line.trimmingCharacters(in: .whitespaces)
        if !text.isEmpty {
            _ = try await client.send(channel: room, text: text)
        }
    }
}

func chat(client: ChatClient, name: String) async throws {
    try await client.connect()
    let room = try await client.direct(name: name)
    let showing = Task { await show(client: client, room: room) }
    try await write(client: client, room: room)
    // What is on its way comes back to the screen.
    try await Task.sleep(nanoseconds: 200_000_000)
    showing.cancel()
}

@main
struct Terminal {
    static func main() async {
        let env = ProcessInfo.processInfo.environment
        guard CommandLine.arguments.count == 2, let url = env["KITH_URL"], let ca = env["KITH_CA"] else {
            print("Terminal NAME, with KITH_URL, KITH_CA (a file) and KITH_TOKEN")
            exit(2)
        }
        do {
            let options = Options(url: url, caPem: try String(contentsOfFile: ca, encoding: .utf8), store: env["KITH_STORE"])
            let client = try await ChatClient.open(options: options, tokens: EnvironmentToken())
            do {
                try await chat(client: client, name: CommandLine.arguments[1])
            } catch {
                await client.shutDown()
                throw error
            }
            await client.shutDown()
        } catch ChatError.Failed(code: let code, name: let name, kind: _, retry: _, retryAfterMs: _, storeTrouble: _, request: _, section: _, text: let text) {
            print("\(name) (\(code)): \(text)")
            exit(1)
        } catch {
            print(error)
            exit(1)
        }
    }
}
