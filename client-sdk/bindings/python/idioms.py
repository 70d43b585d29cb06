

# ---- not of UniFFI: as Python has it
def _each_one(kinds):
    async def each(self):
        if (one := await self.next()) is None:
            raise StopAsyncIteration
        return one

    for kind in kinds:
        kind.__aiter__ = lambda self: self
        kind.__anext__ = each


_each_one(
    [ConversationList, ChatTimeline, Outbox, ChatExport]
    + [StatusWatch, ConnectionWatch, BehindWatch, UnreadWatch, PresenceWatch, TypingWatch, SendStateWatch]
)


async def _events(self):
    """What happens, from when the client was made until it is closed. For one reader: an event goes to one of them."""
    while (event := await self.next_event()) is not None:
        yield event


ChatClient.events = _events


def apply(items, step):
    """Makes a list what it is after a step of a conversation list, a timeline or an outbox."""
    items[step.at : step.at + step.removed] = step.items


__all__.append("apply")
