//! `kith.log.v1` and `kith.client.v1`: pushes.

use bytes::Bytes;
use prost::Message as _;

use super::{
    Field, at_most, message, nested, numbered,
    proto::{
        self,
        client::v1::{self as client, push_answer::Answer as AnswerKind, push_request::Ask as AskKind},
        log::v1::{self as log, push_change::Change as ChangeKind, push_target::Target as TargetKind},
    },
    top, union, well_formed, wrapper,
};
use crate::{
    error::{DecodeError, Why},
    limit,
    log::{PushChange, PushDevice, PushDueRow, PushFailure, PushSent, PushSentRow, PushSettled, PushTarget, PushesRow, QuietHours},
    push_device::{PushAnswer, PushDeviceView, PushRequest, PushState, PushTested, PushVia},
};

top!(log: PushesRow, PushDueRow, PushSentRow);

wrapper!(PushTarget => log::PushTarget.target check check_target);
nested!(PushTarget, log::PushTarget);
union!(PushTarget => TargetKind {
    Apns: log::ApnsTarget { token, topic, sandbox },
    Fcm: log::FcmTarget { token },
    WebPush: log::WebPushTarget { endpoint, p256dh, auth, server },
    Webhook: log::WebhookTarget { url, key },
});
message!(QuietHours => log::QuietHours { from, to } check check_quiet);

wrapper!(PushChange => log::PushChange.change);
union!(PushChange => ChangeKind {
    Register: log::PushRegister { device, target },
    Unregister: log::PushUnregister { device, registered },
    Quiet: log::PushQuiet { quiet },
    Sent: log::PushesSent { channel, sent },
    Settled: log::PushesSettled { channels },
    Failed: log::PushFailed { device, registered, reason },
});
message!(PushSent => log::PushSent { device, seq, at, is_read });
message!(PushSettled => log::PushSettled { channel, seq, is_read });
message!(PushesRow => log::PushesRow { devices, quiet });
message!(PushDevice => log::PushDevice { device, target, registered, failure });
message!(PushFailure => log::PushFailure { at, reason, count });
message!(PushDueRow => log::PushDueRow { since });
message!(PushSentRow => log::PushSentRow { sent });

wrapper!(PushRequest => client::PushRequest.ask);
nested!(PushRequest, client::PushRequest);
union!(PushRequest => AskKind {
    Register: client::RegisterPush { target },
    SetQuiet: client::SetQuiet { quiet },
    ; empty Unregister, Get, Test
});
wrapper!(PushAnswer => client::PushAnswer.answer);
nested!(PushAnswer, client::PushAnswer);
union!(PushAnswer => AnswerKind { ; holds State, Tested });
message!(PushState => client::PushState { devices, quiet, server_key });
message!(PushDeviceView => client::PushDeviceView { device, via, registered, failure });
wrapper!(Vec<PushTested> => client::PushesTested.devices);
message!(PushTested => client::PushTested { device, via, delivered, outcome });
numbered!(PushVia => client::PushVia { Apns, Fcm, WebPush, Webhook });

fn check_target(target: &PushTarget) -> Result<(), DecodeError> {
    at_most(target.bytes(), limit::PUSH_TARGET_BYTES_MAX, "target")
}

fn check_quiet(quiet: &QuietHours) -> Result<(), DecodeError> {
    well_formed(quiet.is_valid(), "quiet")
}
