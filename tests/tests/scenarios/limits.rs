//! The largest, and one more.

use bytes::Bytes;
use kith_client::Draft;
use kith_tests::{
    Cluster,
    raw::{Raw, hello},
};
use kith_wire::{
    client::{Request, Send, ToClient, ToEdge},
    code::Code,
    id::ClientSeq,
    limit::{FRAME_BYTES_MAX, TEXT_CHARS_MAX},
};

#[tokio::test(flavor = "multi_thread")]
async fn longest_text_of_four_byte_characters_goes_through_and_one_more_is_too_large() {
    let c = Cluster::start(3).await;
    let (ann, bob) = (c.client("ann").await, c.client("bob").await);
    c.room("general", &ann, &[&bob]).await;
    let longest = "🦀".repeat(TEXT_CHARS_MAX);
    ann.send("general", &longest).await;
    c.wait_device(&bob, "general").await;

    let longer = "🦀".repeat(TEXT_CHARS_MAX + 1);
    let refused = ann.channel("general").send(Draft::text(longer.as_str())).await.err().map(|error| error.code);
    assert_eq!(refused, Some(Code::TooLarge), "by the SDK");

    // A client of another make does not count; the edge does.
    let user = c.user("ann").await;
    let mut chat = Raw::to(&c, 1).await.chat().await;
    chat.send(&ToEdge::Hello(hello(user, &c.token("ann", user), None))).await;
    assert!(matches!(chat.next().await, Some(ToClient::Welcome(_))));
    let send = |text: String, number| {
        let (channel, client_seq, settled) = (c.channel_of("general"), ClientSeq::new(number), ClientSeq::new(1));
        Request::Send(Send { channel, client_seq, settled, text, reply_to: None, mentions: Vec::new() })
    };
    chat.ask(1, send(longer, 1)).await;
    assert_eq!(answer(&mut chat).await, Err(Code::TooLarge));
    // The session goes on.
    chat.ask(2, send("short".into(), 1)).await;
    assert_eq!(answer(&mut chat).await, Ok(()), "what is refused at the edge uses no number");

    ann.send("general", "well").await;
    c.check_device(&bob, "general").await;
    c.check_history().await;
    c.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn frame_over_its_bound_ends_the_connection_and_is_never_buffered() {
    let c = Cluster::start(1).await;
    let user = c.user("ann").await;
    let mut chat = Raw::to(&c, 1).await.chat().await;
    chat.send(&ToEdge::Hello(hello(user, &c.token("ann", user), None))).await;
    assert!(matches!(chat.next().await, Some(ToClient::Welcome(_))));

    let header = [&u32::try_from(FRAME_BYTES_MAX + 1).expect("fits").to_be_bytes()[..], &1_u16.to_be_bytes()].concat();
    chat.send_bytes(&Bytes::from(header)).await;

    let last = loop {
        match chat.next().await {
            Some(ToClient::Bye(refusal)) => break Some(refusal.code),
            Some(_) => {}
            None => break None,
        }
    };
    assert_eq!(last, Some(Code::BadFrame));
    c.client("ann").await;
    c.finish().await;
}

/// The code of the next answer; events on the way are passed over.
async fn answer(chat: &mut kith_tests::raw::Chat) -> Result<(), Code> {
    loop {
        match chat.next().await {
            Some(ToClient::Answer { answer, .. }) => return answer.map(|_| ()).map_err(|refusal| refusal.code),
            Some(_) => {}
            None => panic!("the edge has closed the session"),
        }
    }
}
