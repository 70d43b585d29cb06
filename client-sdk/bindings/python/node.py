"""What the tests of the Python binding share: a node of the program in KITH, tokens, and waiting with an end."""

import asyncio
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import unittest
import urllib.request

import kith

ROOT = pathlib.Path(__file__).resolve().parents[3]


def port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class Node:
    """A cluster of one node, in a folder of its own."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory(prefix="kith-python-")
        self.data = pathlib.Path(self.folder.name) / "data"
        self.listen, self.http = f"127.0.0.1:{port()}", f"127.0.0.1:{port()}"
        self.start()

    def start(self):
        arguments = ["start", "--single-node", "--data", self.data, "--listen", self.listen, "--http", self.http, "--until-stdin-closes"]
        null = subprocess.DEVNULL
        self.process = subprocess.Popen([os.environ["KITH"], *arguments], stdin=subprocess.PIPE, stdout=null, stderr=null)
        for _ in range(600):
            try:
                with urllib.request.urlopen(f"http://{self.http}/readyz") as answer:
                    if answer.status == 200:
                        return
            except OSError:
                pass
            time.sleep(0.1)
        raise AssertionError("the node is not ready")

    def kill(self):
        self.process.kill()
        self.process.wait()
        self.process.stdin.close()

    def stop(self):
        self.kill()
        self.folder.cleanup()

    @property
    def ca(self):
        return self.data / "cluster" / "ca.pem"

    def token(self, name):
        done = subprocess.run([os.environ["KITH"], "token", name, "--cluster", self.data], check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def options(self, **more):
        return kith.Options(url=self.listen, ca_pem=self.ca.read_text(), **more)


class Token(kith.TokenSource):
    def __init__(self, token):
        self.text, self.reasons = token, []

    async def token(self, reason):
        self.reasons.append(reason)
        await asyncio.sleep(0)
        return self.text


async def received(client, text):
    """The event of this text."""
    async for event in client.events():
        if isinstance(event, kith.ChatEvent.RECEIVED) and event.message.text == text:
            return event.message
    raise AssertionError("the client was closed")


def within(seconds, waits):
    return asyncio.wait_for(waits, seconds)


async def until(what, holds):
    """Asks again until it holds; gives what it gave."""

    async def wait():
        while not (found := await holds()):
            await asyncio.sleep(0.02)
        return found

    try:
        return await asyncio.wait_for(wait(), 30)
    except asyncio.TimeoutError:
        raise AssertionError(f"never: {what}") from None


async def shown(live, holds, items=None):
    """Reads a live list until its items are as wanted; gives them."""
    items = [] if items is None else items

    async def read():
        async for step in live:
            kith.apply(items, step)
            if holds(items):
                return items
        raise AssertionError("the list has ended")

    return await within(30, read())


async def told(watch, holds):
    """Reads a live value until it is as wanted; gives it."""

    async def read():
        async for value in watch:
            if holds(value):
                return value
        raise AssertionError("the value has ended")

    return await within(30, read())


class OverNode(unittest.IsolatedAsyncioTestCase):
    """Tests over one node that all of a class share."""

    names = ("ann", "bob")

    @classmethod
    def setUpClass(cls):
        cls.node = Node()
        cls.tokens = {name: cls.node.token(name) for name in cls.names}

    @classmethod
    def tearDownClass(cls):
        cls.node.stop()

    async def asyncSetUp(self):
        # Tokens are asked for from other threads.
        kith.uniffi_set_event_loop(asyncio.get_running_loop())

    async def open(self, name, log=None, **more):
        client = await kith.ChatClient.open(self.node.options(**more), Token(self.tokens[name]), log)
        self.addAsyncCleanup(client.shut_down)
        return client

    async def online(self, *names):
        clients = [await self.open(name) for name in names]
        await within(30, asyncio.gather(*(client.connect() for client in clients)))
        return clients

    async def done(self, client, channel, number):
        return await within(30, client.sent(channel, number))
