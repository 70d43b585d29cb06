//! `kith.log.v1`, `kith.client.v1` and `kith.peer.v1`: who may join the cluster.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, at_most, message, nested, proto,
    proto::{
        client::v1::{self as client, trust_answer::Answer as AnswerKind, trust_request::Ask as AskKind},
        log::v1::{self as log, trust_command::Change as ChangeKind},
        peer::v1::{self as peer, join_told::Told as ToldKind},
    },
    top, union, well_formed, wrapper,
};
use crate::{
    error::{DecodeError, Why},
    limit,
    log::NodeRow,
    trust::{
        JoinAsk, JoinSecret, JoinTicket, JoinToken, JoinTold, JoinUse, JoinView, Joined, TokenId, TrustAnswer, TrustChange, TrustRequest, TrustRow,
    },
};

top!(log: TrustRow);
top!(peer: JoinTicket, JoinAsk, JoinTold);

impl Field<u64> for TokenId {
    fn put(&self) -> u64 {
        self.get()
    }
    fn take(raw: u64, _field: &'static str) -> Result<Self, DecodeError> {
        Ok(Self::new(raw))
    }
}

impl Field<Bytes> for JoinSecret {
    fn put(&self) -> Bytes {
        Field::put(self.reveal())
    }
    fn take(raw: Bytes, field: &'static str) -> Result<Self, DecodeError> {
        Field::take(raw, field).map(Self::new)
    }
}

wrapper!(TrustChange => log::TrustCommand.change);
nested!(TrustChange, log::TrustCommand);
union!(TrustChange => ChangeKind {
    RevokeJoin: log::RevokeJoin { id },
    UseJoin: log::UseJoin { token, key, node, at, nodes, groups },
    ; holds AddJoin
});
message!(TrustRow => log::TrustRow { joins });
message!(JoinToken => log::JoinToken { token, by, made, until, region, zone, host, replaces, used, revoked });
message!(JoinUse => log::JoinUse { key, node, at });

wrapper!(TrustRequest => client::TrustRequest.ask check check_request);
nested!(TrustRequest, client::TrustRequest);
union!(TrustRequest => AskKind {
    MakeJoin: client::MakeJoin { ttl_s, region, zone, host, replaces },
    RevokeJoin: log::RevokeJoin { id },
    ; holds
    ; empty Joins
});
wrapper!(TrustAnswer => client::TrustAnswer.answer check check_answer);
nested!(TrustAnswer, client::TrustAnswer);
union!(TrustAnswer => AnswerKind {
    Made: client::JoinMade { token, id, until },
    ; holds Joins
    ; empty Done
});
wrapper!(Vec<JoinView> => client::JoinList.joins);
message!(JoinView => client::JoinView { id, by, made, until, region, zone, host, replaces, node, revoked });

message!(JoinTicket => peer::JoinTicket { cluster, authority, secret, addresses } check check_ticket);
message!(JoinAsk => peer::JoinAsk { secret, key, node } check check_ask);
message!(Joined => peer::Joined { node, certificate, authority, authority_key, token_key, cluster, map });
wrapper!(JoinTold => peer::JoinTold.told);
union!(JoinTold => ToldKind { ; holds Joined, Refusal });

impl Field<peer::Joined> for Box<Joined> {
    fn put(&self) -> peer::Joined {
        Field::put(self.as_ref())
    }
    fn take(raw: peer::Joined, field: &'static str) -> Result<Self, DecodeError> {
        Field::take(raw, field).map(Self::new)
    }
}

fn check_request(request: &TrustRequest) -> Result<(), DecodeError> {
    match request {
        TrustRequest::MakeJoin { ttl_s, zone, host, .. } => well_formed((1..=limit::JOIN_TTL_S_MAX).contains(ttl_s), "ttl_s")
            .and_then(|()| labels([zone, host]))
            .map_err(|error| error.within("MakeJoin")),
        TrustRequest::Joins | TrustRequest::RevokeJoin { .. } => Ok(()),
    }
}

fn check_answer(answer: &TrustAnswer) -> Result<(), DecodeError> {
    match answer {
        TrustAnswer::Joins(joins) => at_most(joins.len(), limit::JOIN_TOKENS_MAX, "joins"),
        TrustAnswer::Made { .. } | TrustAnswer::Done => Ok(()),
    }
}

fn check_ticket(ticket: &JoinTicket) -> Result<(), DecodeError> {
    well_formed(!ticket.addresses.is_empty(), "addresses")?;
    at_most(ticket.addresses.len(), limit::JOIN_ADDRESSES_MAX, "addresses")?;
    ticket.addresses.iter().try_for_each(|address| at_most(address.len(), limit::NODE_LABEL_BYTES_MAX, "addresses"))
}

fn check_ask(ask: &JoinAsk) -> Result<(), DecodeError> {
    let NodeRow { address, http, zone, host, .. } = &ask.node;
    at_most(ask.key.len(), limit::NODE_KEY_BYTES_MAX, "key")?;
    well_formed(!address.is_empty(), "address")?;
    labels([address, http, zone, host])
}

fn labels<const N: usize>(texts: [&String; N]) -> Result<(), DecodeError> {
    texts.into_iter().try_for_each(|text| at_most(text.len(), limit::NODE_LABEL_BYTES_MAX, "label"))
}
