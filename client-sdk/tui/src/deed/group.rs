//! Running a group: members, roles, links, requests to join, rules.

use kith_client::{
    Link,
    wire::{
        act::Rules,
        id::{ChannelId, Seq, Timestamp, UserId},
        log::Role,
    },
};

use crate::{
    action::Write,
    app::App,
    keys::Deed,
    screen::Screen,
    state::form::{Form, FormKind, Question},
};

/// A row of a group's screen that can be chosen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum GroupRow {
    Member(UserId, Role),
    Asked(UserId),
    Link([u8; 16]),
    Pin(Seq),
}

impl App {
    /// Members, requests, links, pins.
    pub(crate) fn group_rows(&self, channel: ChannelId) -> Vec<GroupRow> {
        let Some(talk) = self.talks.get(&channel) else { return Vec::new() };
        let mut members: Vec<_> = talk.members.iter().map(|member| (std::cmp::Reverse(member.role), member.user)).collect();
        members.sort_by_key(|(role, user)| (*role, self.people.shown(*user)));
        let mut rows: Vec<GroupRow> = members.into_iter().map(|(role, user)| GroupRow::Member(user, role.0)).collect();
        if let Some(group) = &talk.group {
            rows.extend(group.asked.iter().map(|asked| GroupRow::Asked(asked.user)));
            rows.extend(group.links.iter().map(|link| GroupRow::Link(link.invite.secret)));
            rows.extend(group.pins.iter().map(|pin| GroupRow::Pin(pin.seq)));
        }
        rows
    }
    pub(super) fn in_group(&mut self, channel: ChannelId, deed: Deed) {
        let rows = self.group_rows(channel);
        let Screen::Group { at, .. } = *self.screen() else { return };
        let at = at.min(rows.len().saturating_sub(1));
        if let Some(to) = self.moved(deed, at, rows.len()) {
            *self.screen_mut() = Screen::Group { channel, at: to };
            return;
        }
        if deed == Deed::Back {
            return self.back();
        }
        if self.in_rules(channel, deed) {
            return;
        }
        match (deed, rows.get(at).copied()) {
            (Deed::AddMember, _) => {
                self.show_form(Form::new(FormKind::Add(channel), "Add to the group", "").line("Name", "the name that they signed up with", ""))
            }
            (Deed::Invite, _) => self.show_form(
                Form::new(FormKind::Invite(channel), "New invite link", "Who has the link can join: give it only to those who are to.")
                    .line("Ends after", "10m, 2h, 7d; 0: it does not end", "7d")
                    .line("For how many", "0: for any number", "0"),
            ),
            (Deed::Leave, _) => self.question(Question::Leave(channel)),
            (Deed::RemoveMember, Some(GroupRow::Member(user, _))) if user == self.me => self.question(Question::Leave(channel)),
            (Deed::RemoveMember, Some(GroupRow::Member(user, _))) => self.question(Question::RemoveMember(channel, user)),
            (Deed::Promote, Some(GroupRow::Member(user, Role::Member))) => {
                self.write(channel, Write::Role(user, Role::Admin), "they are an admin now");
            }
            (Deed::Promote, Some(GroupRow::Member(..))) => self.say("they are an admin already; H hands the group over"),
            (Deed::Demote, Some(GroupRow::Member(user, Role::Admin))) => {
                self.write(channel, Write::Role(user, Role::Member), "they are a member again");
            }
            (Deed::Demote, Some(GroupRow::Member(..))) => self.say("they are no admin"),
            (Deed::MuteMember, Some(GroupRow::Member(user, _))) => self.mute_member(channel, user),
            (Deed::HandOver, Some(GroupRow::Member(user, _))) if user != self.me => self.question(Question::HandOver(channel, user)),
            (Deed::Approve, Some(GroupRow::Asked(user))) => {
                self.write(channel, Write::Add(user), "they are in now");
            }
            (Deed::Reject, Some(GroupRow::Asked(user))) => {
                self.write(channel, Write::Reject(user), "they were refused");
            }
            (Deed::Revoke, Some(GroupRow::Link(secret))) => self.question(Question::Revoke(channel, secret)),
            (Deed::Enter, Some(GroupRow::Link(secret))) => self.show_link(Link { channel, secret }),
            (Deed::Enter, Some(GroupRow::Pin(seq))) => self.go_to(channel, seq),
            (Deed::RemoveMember | Deed::Promote | Deed::Demote | Deed::MuteMember | Deed::HandOver, _) => {
                self.say("first choose a member, with Up and Down")
            }
            (Deed::Approve | Deed::Reject, _) => self.say("first choose somebody who asked to join"),
            (Deed::Revoke, _) => self.say("first choose a link"),
            _ => {}
        }
    }
    fn mute_member(&mut self, channel: ChannelId, user: UserId) {
        let muted =
            self.talks.get(&channel).and_then(|talk| talk.group.as_ref()).is_some_and(|group| group.muted.iter().any(|muted| muted.user == user));
        if muted {
            self.write(channel, Write::Mute(user, Timestamp::new(0)), "they may write again");
            return;
        }
        let title = format!("Mute {}", self.people.shown(user));
        let form = Form::new(FormKind::MuteMember(channel, user), &title, "They read on, and cannot write until it is over.").line(
            "For how long",
            "10m, 2h, 7d",
            "1h",
        );
        self.show_form(form);
    }
    pub(crate) fn show_link(&mut self, link: Link) {
        self.note(
            "Invite link",
            format!("{link}\n\nCopy this line, and give it to those who are to join.\nThey press l in their list of conversations, and paste it."),
        );
    }
    /// What is changed by one key or one field. Says whether it was that.
    fn in_rules(&mut self, channel: ChannelId, deed: Deed) -> bool {
        if !matches!(deed, Deed::Title | Deed::About | Deed::SlowMode | Deed::WhoPosts | Deed::WhoInvites | Deed::FromStart | Deed::Approval) {
            return false;
        }
        let Some(group) = self.talks.get(&channel).and_then(|talk| talk.group.clone()) else {
            self.say("the group's rules are not here yet");
            return true;
        };
        let rules = group.rules;
        let next = |role: Role| match role {
            Role::Member => Role::Admin,
            Role::Admin => Role::Owner,
            Role::Owner => Role::Member,
        };
        let changed = match deed {
            Deed::Title => {
                self.show_form(Form::new(FormKind::Title(channel), "Title", "").line("Title", "at most 200 characters", &group.title));
                return true;
            }
            Deed::About => {
                self.show_form(Form::new(FormKind::About(channel), "Description", "What the group is for.").line("Description", "", &group.about));
                return true;
            }
            Deed::SlowMode => {
                let now = if rules.slow_ms == 0 { "0".to_owned() } else { format!("{}s", rules.slow_ms / 1_000) };
                self.show_form(
                    Form::new(FormKind::SlowMode(channel), "Slow mode", "The least time between two messages of a member; admins may always write.")
                        .line("Between two", "30s, 10m, 2h; 0: no slow mode", &now),
                );
                return true;
            }
            Deed::WhoPosts => Rules { post: next(rules.post), ..rules },
            Deed::WhoInvites => Rules { invite: next(rules.invite), ..rules },
            Deed::FromStart => Rules { from_start: !rules.from_start, ..rules },
            _ => Rules { approval: !rules.approval, ..rules },
        };
        self.write(channel, Write::Rules(changed), "rules changed");
        true
    }
}
