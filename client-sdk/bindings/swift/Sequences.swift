// What happens, lists and live values as sequences; what UniFFI does not make. A loop ends when the client is closed, and what it reads when nothing holds it any more.
import Foundation

extension ChatClient {
    /// What happens, from when the client was made until it is closed. For one reader: an event goes to one of them.
    public var events: AsyncStream<ChatEvent> { AsyncStream(unfolding: { await self.nextEvent() }) }
}

extension ConversationList {
    /// Changes of the list, at first all of it.
    public var steps: AsyncStream<ConversationStep> { AsyncStream(unfolding: { await self.next() }) }
}

extension ChatTimeline {
    /// Changes of the timeline, at first all of it.
    public var steps: AsyncStream<TimelineStep> { AsyncStream(unfolding: { await self.next() }) }
}

extension Outbox {
    /// Changes of the outbox, at first all of it.
    public var steps: AsyncStream<OutboxStep> { AsyncStream(unfolding: { await self.next() }) }
}

extension StatusWatch {
    /// The value now, then each other one.
    public var values: AsyncStream<Status> { AsyncStream(unfolding: { await self.next() }) }
}

extension ConnectionWatch {
    /// The value now, then each other one.
    public var values: AsyncStream<Connection> { AsyncStream(unfolding: { await self.next() }) }
}

extension UnreadWatch {
    /// The value now, then each other one.
    public var values: AsyncStream<UnreadTotals> { AsyncStream(unfolding: { await self.next() }) }
}

extension PresenceWatch {
    /// The value now, then each other one.
    public var values: AsyncStream<[PresenceView]> { AsyncStream(unfolding: { await self.next() }) }
}

extension TypingWatch {
    /// The value now, then each other one.
    public var values: AsyncStream<[String]> { AsyncStream(unfolding: { await self.next() }) }
}

extension SendStateWatch {
    /// The value now, then each other one.
    public var values: AsyncStream<SendState> { AsyncStream(unfolding: { await self.next() }) }
}

extension Array where Element == Conversation {
    /// Makes it what the list is after a step.
    public mutating func apply(_ step: ConversationStep) {
        replaceSubrange(Int(step.at)..<Int(step.at + step.removed), with: step.items)
    }
}

extension Array where Element == TimelineItem {
    /// Makes it what the timeline is after a step.
    public mutating func apply(_ step: TimelineStep) {
        replaceSubrange(Int(step.at)..<Int(step.at + step.removed), with: step.items)
    }
}

extension Array where Element == Echo {
    /// Makes it what the outbox is after a step.
    public mutating func apply(_ step: OutboxStep) {
        replaceSubrange(Int(step.at)..<Int(step.at + step.removed), with: step.items)
    }
}
