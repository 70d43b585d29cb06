//! Who may join the cluster: tokens, each of which lets one node in, once. Who may run it is beside it ([`super::admin`]).
//!
//! In: the meta group's `Command::Trust`. Out: one row; with a join, the rows of the map that it changes. Invariants: of two nodes that come with one
//! token the first in the log has it, and the other is told so, whoever led meanwhile; who comes again with the same key is told the same; a join
//! and its change of the map are one entry or none. Bound: `limit::JOIN_TOKENS_MAX`; what is over makes room after a while. Not here: secrets,
//! certificates, dialling back (the node's `cluster`).

use kith_wire::{
    code::Code,
    id::{NodeId, Timestamp},
    limit,
    log::{NodeRow, NodeState},
    trust::{JoinToken, JoinUse, TokenId, TrustChange, TrustRow},
};

use super::{admin, map};
use crate::{
    Context,
    reply::Reply,
    view::{RowKey, StateView, ViewError, row},
};

/// All tokens that are kept, the oldest first.
///
/// # Errors
/// The row cannot be read.
pub fn joins(view: &dyn StateView) -> Result<Vec<JoinToken>, ViewError> {
    Ok(row::<TrustRow>(view, &RowKey::Trust)?.map(|row| row.joins.clone()).unwrap_or_default())
}

/// What a token with this digest gives a node with this key: a place, or the one that it has; or why not.
///
/// # Errors
/// `BadToken`, `TokenSpent`, `Revoked`, `TokenExpired`.
pub fn offer<'a>(joins: &'a [JoinToken], token: &[u8; 32], key: &[u8; 32], now: Timestamp) -> Result<Offer<'a>, Code> {
    let join = joins.iter().find(|join| join.token == *token).ok_or(Code::BadToken)?;
    match join.used {
        Some(used) if used.key == *key => Ok(Offer::Again(used.node)),
        Some(_) => Err(Code::TokenSpent),
        None if join.revoked => Err(Code::Revoked),
        None if join.until <= now => Err(Code::TokenExpired),
        None => Ok(Offer::Place(join)),
    }
}

/// See [`offer`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Offer<'a> {
    /// Nobody has used the token yet.
    Place(&'a JoinToken),
    /// This key has, and got this id.
    Again(NodeId),
}

/// Applies a change of who may join.
pub(crate) fn change(ctx: &mut Context<'_>, change: TrustChange) -> Result<Reply, ViewError> {
    match change {
        TrustChange::AddJoin(join) => add(ctx, join),
        TrustChange::RevokeJoin { id } => revoke(ctx, id),
        TrustChange::UseJoin { token, key, node, at, nodes, groups } => {
            let mut row = read(ctx)?;
            match offer(&row.joins, &token, &key, ctx.now) {
                Err(code) => return Ok(Reply::Rejected(code)),
                Ok(Offer::Again(node)) => {
                    let has_left = ctx.rows.row::<NodeRow>(&RowKey::Node(node))?.is_none_or(|row| row.state == NodeState::Left);
                    return Ok(if has_left { Reply::Rejected(Code::TokenSpent) } else { Reply::Kept { id: node.get() } });
                }
                Ok(Offer::Place(_)) => {}
            }
            let is_new = ctx.rows.row::<NodeRow>(&RowKey::Node(node))?.is_none();
            if !is_new || !nodes.iter().any(|row| row.node == node) {
                return Ok(Reply::Rejected(Code::Conflict));
            }
            match map::change(ctx, at, nodes, groups, Vec::new())? {
                Reply::Done => {}
                other => return Ok(other),
            }
            for join in row.joins.iter_mut().filter(|join| join.token == token) {
                join.used = Some(JoinUse { key, node, at: ctx.now });
            }
            ctx.rows.put(RowKey::Trust, row);
            Ok(Reply::Kept { id: node.get() })
        }
        TrustChange::AddAdmin(token) => admin::add(ctx, token),
        TrustChange::RevokeAdmin { id } => admin::revoke(ctx, id),
        TrustChange::ClaimAdmin { first, token } => admin::claim(ctx, &first, token),
    }
}

fn add(ctx: &mut Context<'_>, join: JoinToken) -> Result<Reply, ViewError> {
    let mut row = read(ctx)?;
    if row.joins.iter().any(|known| known.token == join.token) {
        return Ok(Reply::Done);
    }
    let labels = join.zone.len().max(join.host.len());
    if labels > limit::NODE_LABEL_BYTES_MAX {
        return Ok(Reply::Rejected(Code::TooLarge));
    }
    let now = ctx.now;
    row.joins.retain(|known| known.until.get().saturating_add(limit::JOIN_TOKEN_KEPT_MS) > now.get());
    if row.joins.len() >= limit::JOIN_TOKENS_MAX {
        // Those that nobody can use go before their time.
        match row.joins.iter().position(|known| known.revoked || known.used.is_some() || known.until <= now) {
            Some(over) => drop(row.joins.remove(over)),
            None => return Ok(Reply::Rejected(Code::LimitReached)),
        }
    }
    row.joins.push(JoinToken { made: now, used: None, revoked: false, ..join });
    ctx.rows.put(RowKey::Trust, row);
    Ok(Reply::Done)
}

fn revoke(ctx: &mut Context<'_>, id: TokenId) -> Result<Reply, ViewError> {
    let mut row = read(ctx)?;
    let Some(join) = row.joins.iter_mut().find(|join| TokenId::of(&join.token) == id) else { return Ok(Reply::Rejected(Code::NotFound)) };
    if join.used.is_some() {
        return Ok(Reply::Rejected(Code::TokenSpent));
    }
    if !std::mem::replace(&mut join.revoked, true) {
        ctx.rows.put(RowKey::Trust, row);
    }
    Ok(Reply::Done)
}

/// The row of all tokens.
pub(super) fn read(ctx: &Context<'_>) -> Result<TrustRow, ViewError> {
    Ok(ctx.rows.row::<TrustRow>(&RowKey::Trust)?.map(|row| row.clone()).unwrap_or_default())
}
