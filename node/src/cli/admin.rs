//! `kith group …`, the part for those who run a group: title and rules, roles, links, who may join.

use kith_client::{
    Channel, Done, Joined, Link,
    wire::{act::Rules, id::Timestamp, log::Role},
};
use serde_json::{Value, json};

use super::{
    cluster::{Names, Session},
    failure::Failure,
    group::tell,
    shown::say,
};

#[derive(clap::Subcommand, Debug)]
pub(super) enum Verb {
    /// Show description, rules, pins, and for those who may, links and requests to join
    Info {
        /// Id or title of the group
        group: String,
    },
    /// Change the title or the description
    Describe {
        /// Id or title of the group
        group: String,
        /// The new title
        #[arg(long)]
        title: Option<String>,
        /// The new description
        #[arg(long)]
        about: Option<String>,
    },
    /// Change what members may do; what is not named stays as it is
    Rules {
        /// Id or title of the group
        group: String,
        #[command(flatten)]
        changes: Changes,
    },
    /// Give a member a role
    Role {
        /// Id or title of the group
        group: String,
        /// Whose role
        member: String,
        /// Which
        role: Rank,
    },
    /// Make another member the owner, and oneself an admin
    HandOver {
        /// Id or title of the group
        group: String,
        /// Who is the owner then
        member: String,
    },
    /// Keep a member from writing for a while, or no longer
    Mute {
        /// Id or title of the group
        group: String,
        /// Who
        member: String,
        /// Until this time, in milliseconds since 1970; 0: no longer
        #[arg(long, value_name = "MS")]
        until_ms: u64,
    },
    /// Shut somebody out, member or not: neither a link nor a member brings them in
    Ban {
        /// Id or title of the group
        group: String,
        /// Whom
        user: String,
    },
    /// Let somebody in again who is shut out
    Unban {
        /// Id or title of the group
        group: String,
        /// Whom
        user: String,
    },
    /// Make a link to join by
    Invite {
        /// Id or title of the group
        group: String,
        /// It ends at this time, in milliseconds since 1970
        #[arg(long, value_name = "MS", default_value_t = 0)]
        until_ms: u64,
        /// So many may join by it; 0: any number
        #[arg(long, value_name = "N", default_value_t = 0)]
        uses: u32,
    },
    /// End a link
    Revoke {
        /// The link
        link: String,
    },
    /// Join a group by a link, or ask to be let in
    Join {
        /// The link
        link: String,
    },
    /// Refuse somebody who asked to join; `add` lets them in
    Reject {
        /// Id or title of the group
        group: String,
        /// Who
        user: String,
    },
}

/// A role, as a person writes it.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
pub(super) enum Rank {
    /// May post and read
    Member,
    /// May add and remove members too
    Admin,
    /// May do everything
    Owner,
}

impl From<Rank> for Role {
    fn from(rank: Rank) -> Self {
        match rank {
            Rank::Member => Self::Member,
            Rank::Admin => Self::Admin,
            Rank::Owner => Self::Owner,
        }
    }
}

// Changes of the rules. No doc comment: it would stand as what the verb does.
#[derive(clap::Args, Debug)]
pub(super) struct Changes {
    /// The least role that may write
    #[arg(long)]
    post: Option<Rank>,
    /// The least role that may add members and make links
    #[arg(long)]
    invite: Option<Rank>,
    /// The least role that may pin
    #[arg(long)]
    pin: Option<Rank>,
    /// The least role that may change title and description
    #[arg(long)]
    describe: Option<Rank>,
    /// Whether new members read from the start
    #[arg(long)]
    from_start: Option<bool>,
    /// Whether who joins by a link waits for an admin
    #[arg(long)]
    approval: Option<bool>,
    /// Seconds between two texts of a plain member; 0: none
    #[arg(long, value_name = "SECONDS")]
    slow: Option<u64>,
    /// Seconds that a text is kept; 0: for ever
    #[arg(long, value_name = "SECONDS")]
    keep: Option<u64>,
}

impl Changes {
    fn apply(&self, rules: &mut Rules) {
        let set = |role: &mut Role, rank: Option<Rank>| *role = rank.map_or(*role, Role::from);
        set(&mut rules.post, self.post);
        set(&mut rules.invite, self.invite);
        set(&mut rules.pin, self.pin);
        set(&mut rules.describe, self.describe);
        rules.from_start = self.from_start.unwrap_or(rules.from_start);
        rules.approval = self.approval.unwrap_or(rules.approval);
        rules.slow_ms = self.slow.map_or(rules.slow_ms, |seconds| seconds.saturating_mul(1_000));
        rules.retention_ms = self.keep.map_or(rules.retention_ms, |seconds| seconds.saturating_mul(1_000));
    }
}

pub(super) async fn run(session: &Session, verb: &Verb, is_json: bool) -> Result<(), Failure> {
    let outgoing = match verb {
        Verb::Info { group } => return info(session, &session.group(group).await?, is_json).await,
        Verb::Join { link } => return join(session, link, is_json).await,
        Verb::Invite { group, until_ms, uses } => {
            let (link, outgoing) = session.group(group).await?.invite(Timestamp::new(*until_ms), *uses).await?;
            outgoing.done().await?;
            if is_json {
                println!("{}", json!({ "link": link.to_string() }));
            } else {
                println!("{link}");
            }
            return Ok(());
        }
        Verb::Describe { group, title, about } => session.group(group).await?.describe(title.clone(), about.clone()).await?,
        Verb::Rules { group, changes } => {
            let channel = session.group(group).await?;
            let mut rules = channel.group().await?.rules;
            changes.apply(&mut rules);
            channel.set_rules(rules).await?
        }
        Verb::Role { group, member, role } => {
            let member = session.client.find_user(member).await?;
            session.group(group).await?.set_role(member, (*role).into()).await?
        }
        Verb::HandOver { group, member } => {
            let member = session.client.find_user(member).await?;
            session.group(group).await?.hand_over(member).await?
        }
        Verb::Mute { group, member, until_ms } => {
            let member = session.client.find_user(member).await?;
            session.group(group).await?.mute(member, Timestamp::new(*until_ms)).await?
        }
        Verb::Ban { group, user } => {
            let user = session.client.find_user(user).await?;
            session.group(group).await?.ban(user, true).await?
        }
        Verb::Unban { group, user } => {
            let user = session.client.find_user(user).await?;
            session.group(group).await?.ban(user, false).await?
        }
        Verb::Revoke { link } => {
            let link: Link = link.parse()?;
            session.client.channel(link.channel).revoke(link.secret).await?
        }
        Verb::Reject { group, user } => {
            let user = session.client.find_user(user).await?;
            session.group(group).await?.reject(user).await?
        }
    };
    match outgoing.done().await? {
        Done::Record(at) => tell(&at, is_json),
        Done::Kept(_) if is_json => println!("{}", json!({ "channel": outgoing.channel().to_string() })),
        Done::Kept(_) => println!("done"),
    }
    Ok(())
}

async fn join(session: &Session, link: &str, is_json: bool) -> Result<(), Failure> {
    let link: Link = link.parse()?;
    let is_in = matches!(session.client.join(link).await?, Joined::Member(_));
    if is_json {
        println!("{}", json!({ "channel": link.channel.to_string(), "joined": is_in, "pending": !is_in }));
    } else if is_in {
        println!("joined {}", link.channel);
    } else {
        println!("asked to be let into {}: an admin has to do it", link.channel);
    }
    Ok(())
}

async fn info(session: &Session, channel: &Channel, is_json: bool) -> Result<(), Failure> {
    let (view, members) = (channel.group().await?, channel.view().await?.members);
    let mut names = Names::new(&session.client);
    let others = view.muted.iter().map(|muted| muted.user).chain(view.asked.iter().map(|asked| asked.user)).chain(view.banned.iter().copied());
    names.learn(members.iter().map(|member| member.user).chain(others)).await?;
    let role = |role: Role| format!("{role:?}").to_lowercase();
    let link = |secret: [u8; 16]| Link { channel: channel.id(), secret }.to_string();
    let rules = view.rules;
    if is_json {
        let members: Vec<Value> = members.iter().map(|one| json!({ "name": names.of(one.user), "role": role(one.role) })).collect();
        let muted: Vec<Value> = view.muted.iter().map(|one| json!({ "name": names.of(one.user), "until_ms": one.until.get() })).collect();
        let links = view
            .links
            .iter()
            .map(|one| json!({ "link": link(one.invite.secret), "until_ms": one.invite.until.get(), "uses": one.invite.uses, "used": one.used }));
        println!(
            "{}",
            json!({
                "channel": channel.id().to_string(), "title": view.title, "about": view.about, "role": role(view.role), "members": members,
                "rules": {
                    "post": role(rules.post), "invite": role(rules.invite), "pin": role(rules.pin), "describe": role(rules.describe),
                    "from_start": rules.from_start, "approval": rules.approval, "slow_ms": rules.slow_ms, "retention_ms": rules.retention_ms,
                },
                "pins": view.pins.iter().map(|pin| pin.seq.get()).collect::<Vec<_>>(), "muted": muted, "links": links.collect::<Vec<_>>(),
                "asked": view.asked.iter().map(|asked| names.of(asked.user)).collect::<Vec<_>>(),
                "banned": view.banned.iter().map(|user| names.of(*user)).collect::<Vec<_>>(),
            })
        );
        return Ok(());
    }
    say(&format!("{}  {}", channel.id(), view.title));
    if !view.about.is_empty() {
        say(&view.about);
    }
    members.iter().for_each(|member| say(&format!("  {:<8}{}", role(member.role), names.of(member.user))));
    let after = |ms: u64, none: &str| if ms == 0 { none.to_owned() } else { format!("{} s", ms / 1_000) };
    println!(
        "from {} up may post, {} invite, {} pin, {} describe; slow mode {}; texts kept {}; new members read from {}; links {}",
        role(rules.post),
        role(rules.invite),
        role(rules.pin),
        role(rules.describe),
        after(rules.slow_ms, "off"),
        after(rules.retention_ms, "for ever"),
        if rules.from_start { "the start" } else { "when they join" },
        if rules.approval { "ask an admin" } else { "let in" },
    );
    view.pins.iter().for_each(|pin| println!("pinned: {}", pin.seq));
    view.muted.iter().for_each(|muted| say(&format!("muted until {} ms: {}", muted.until.get(), names.of(muted.user))));
    view.links.iter().for_each(|one| println!("link, used {} times: {}", one.used, link(one.invite.secret)));
    view.banned.iter().for_each(|user| say(&format!("shut out: {}", names.of(*user))));
    view.asked.iter().for_each(|asked| say(&format!("asks to join: {}", names.of(asked.user))));
    Ok(())
}
