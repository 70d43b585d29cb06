"""A chat in a terminal with one other person: terminal.py NAME, with KITH_URL, KITH_CA (a file) and KITH_TOKEN; KITH_STORE is the folder of what lasts."""

import asyncio
import os
import sys

import kith


class Token(kith.TokenSource):
    async def token(self, reason):
        return os.environ["KITH_TOKEN"]


async def show(client, room):
    """Prints what comes, until the client is closed."""
    while (event := await client.next_event()) is not None:
        if isinstance(event, kith.ChatEvent.RECEIVED) and event.message.channel == room and event.message.kind == kith.MessageKind.TEXT:
            name = "I" if event.message.sender == client.me() else "they"
            print(f"{event.message.seq:>4} {name}: {event.message.text}", flush=True)


async def write(client, room):
    """Sends lines as they are typed, until there are no more. Each is stored before the next is read."""
    while line := await asyncio.to_thread(sys.stdin.readline):
        if line.strip():
            await client.send(room, line.strip())


async def main(name):
    # Tokens are asked for from other threads.
    kith.uniffi_set_event_loop(asyncio.get_running_loop())
    with open(os.environ["KITH_CA"], encoding="ascii") as ca:
        options = kith.Options(url=os.environ["KITH_URL"], ca_pem=ca.read(), store=os.environ.get("KITH_STORE"))
    client = await kith.ChatClient.open(options, Token())
    try:
        await client.connect()
        room = await client.direct(name)
        showing = asyncio.create_task(show(client, room))
        await write(client, room)
        await asyncio.sleep(0.2)
        showing.cancel()
    except kith.ChatError.Failed as error:
        sys.exit(f"{error.name} ({error.code}): {error.text}")
    finally:
        await client.shut_down()


asyncio.run(main(sys.argv[1]))
