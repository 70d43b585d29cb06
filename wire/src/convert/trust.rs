//! `kith.log.v1`, `kith.client.v1` and `kith.peer.v1`: who may join the cluster.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, at_most, message, nested, numbered, proto,
    proto::{
        client::v1::{self as client, trust_answer::Answer as AnswerKind, trust_request::Ask as AskKind},
        log::v1::{self as log, trust_command::Change as ChangeKind},
        peer::v1::{self as peer, join_told::Told as ToldKind},
    },
    top, union, well_formed, wrapper,
};
use crate::{
    admin::{AdminRole, AdminToken, AdminView},
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

impl Field<Option<u64>> for Option<TokenId> {
    fn put(&self) -> Option<u64> {
        self.map(TokenId::get)
    }
    fn take(raw: Option<u64>, _field: &'static str) -> Result<Self, DecodeError> {
        Ok(raw.map(TokenId::new))
    }
}

impl Field<Option<i32>> for Option<AdminRole> {
    fn put(&self) -> Option<i32> {
        self.as_ref().map(Field::put)
    }
    fn take(raw: Option<i32>, field: &'static str) -> Result<Self, DecodeError> {
        raw.map(|raw| Field::take(raw, field)).transpose()
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
    RevokeAdmin: log::RevokeAdmin { id },
    ClaimAdmin: log::ClaimAdmin { first, token },
    ; holds AddJoin, AddAdmin
});
message!(TrustRow => log::TrustRow { joins, admins, first_made });
message!(JoinToken => log::JoinToken { token, by, made, until, region, zone, host, replaces, used, revoked });
message!(AdminToken => log::AdminToken { token, name, role, by, by_token, made, until, revoked, first });
message!(JoinUse => log::JoinUse { key, node, at });

wrapper!(TrustRequest => client::TrustRequest.ask check check_request);
nested!(TrustRequest, client::TrustRequest);
union!(TrustRequest => AskKind {
    MakeJoin: client::MakeJoin { ttl_s, region, zone, host, replaces },
    RevokeJoin: log::RevokeJoin { id },
    MakeAdmin: client::MakeAdmin { name, role, ttl_s },
    RevokeAdmin: log::RevokeAdmin { id },
    ClaimFirst: client::ClaimFirst { token, name },
    ; holds
    ; empty Joins, Admins, MakeFirst
});
wrapper!(TrustAnswer => client::TrustAnswer.answer check check_answer);
nested!(TrustAnswer, client::TrustAnswer);
union!(TrustAnswer => AnswerKind {
    Made: client::JoinMade { token, id, until },
    ; holds Joins, Admins
    ; empty Done
});
wrapper!(Vec<JoinView> => client::JoinList.joins);
wrapper!(Vec<AdminView> => client::AdminList.admins);
message!(AdminView => client::AdminView { id, name, role, by, by_token, made, until, revoked, first });
numbered!(AdminRole => log::AdminRole { Admin, Viewer, Operator });
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
        TrustRequest::MakeAdmin { name, ttl_s, .. } => well_formed((1..=limit::ADMIN_TTL_S_MAX).contains(ttl_s), "ttl_s")
            .and_then(|()| admin_name(name))
            .map_err(|error| error.within("MakeAdmin")),
        TrustRequest::ClaimFirst { name, .. } => admin_name(name).map_err(|error| error.within("ClaimFirst")),
        TrustRequest::Joins | TrustRequest::RevokeJoin { .. } | TrustRequest::Admins | TrustRequest::RevokeAdmin { .. } | TrustRequest::MakeFirst => {
            Ok(())
        }
    }
}

fn check_answer(answer: &TrustAnswer) -> Result<(), DecodeError> {
    match answer {
        TrustAnswer::Joins(joins) => at_most(joins.len(), limit::JOIN_TOKENS_MAX, "joins"),
        TrustAnswer::Admins(admins) => at_most(admins.len(), limit::ADMIN_TOKENS_MAX, "admins"),
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

fn admin_name(name: &str) -> Result<(), DecodeError> {
    well_formed(!name.is_empty() && !name.chars().any(char::is_control), "name")?;
    at_most(name.chars().count(), limit::ADMIN_NAME_CHARS_MAX, "name")
}

fn labels<const N: usize>(texts: [&String; N]) -> Result<(), DecodeError> {
    texts.into_iter().try_for_each(|text| at_most(text.len(), limit::NODE_LABEL_BYTES_MAX, "label"))
}
