//! Pushes, as users ask for them: where their devices are reached, when not to, and whether it works.
//!
//! In: an authenticated caller. Out: changes in their home, what it knows, what came of a test. Invariant: what reaches no device is refused where it is asked, with the reason;
//! a device registers itself alone. Bounds: `limit::PUSH_TARGET_BYTES_MAX`, a rate of tests. Not here: when to push (`crate::push`), what is kept (kith-machine).

use kith_machine::user::push as rows;
use kith_raft::GroupHandle;
use kith_wire::{
    client::{Answer, Refusal},
    code::Code,
    id::UserId,
    log::{PushChange, UserChange},
    peer::{Caller, Inner, InnerAnswer},
    push_device::{PushAnswer, PushDeviceView, PushRequest, PushState, PushVia},
};

use super::local::{broken, not_proposed, view};
use crate::{
    auth::gate::limited,
    clock::{Instant, SharedClock},
    push::sender::{Sender, target_of},
    router::{Router, refuse},
};

/// Does a request.
///
/// # Errors
/// `Invalid` with the reason: the target reaches no device. `NotFound`: the caller's device is none that logged in. Else what the home says.
pub(super) async fn handle(router: &Router, caller: &Caller, asked: PushRequest, deadline: Instant) -> Result<Answer, Refusal> {
    let (user, device) = (caller.user, caller.device);
    let change = match asked {
        PushRequest::Register { target } => {
            target_of(&target).map_err(|error| refuse(Code::Invalid).with_text(error.to_string()))?;
            PushChange::Register { device, target }
        }
        PushRequest::Unregister => PushChange::Unregister { device, registered: None },
        PushRequest::SetQuiet { quiet } => PushChange::Quiet { quiet },
        PushRequest::Get => return told(router.inner(user.bucket(), Inner::Pushes { user }, deadline).await?),
        PushRequest::Test => return told(router.inner(user.bucket(), Inner::TestPush { user }, deadline).await?),
    };
    router.inner(user.bucket(), Inner::User { user, change: UserChange::Push(change) }, deadline).await.map(|_| Answer::Done)
}

fn told(answer: InnerAnswer) -> Result<Answer, Refusal> {
    match answer {
        InnerAnswer::Pushes(state) => Ok(Answer::Push(PushAnswer::State(state))),
        InnerAnswer::Tested(tested) => Ok(Answer::Push(PushAnswer::Tested(tested))),
        _ => Err(refuse(Code::Internal)),
    }
}

/// At the leader of the user's home: which of their devices are pushed to.
pub(super) async fn state(handle: &GroupHandle, sender: &Sender, user: UserId) -> Result<InnerAnswer, Refusal> {
    handle.read_barrier().await.map_err(not_proposed)?;
    let row = rows::pushes(&view(handle)?, user).map_err(|error| broken(&error))?;
    let devices = row.devices.into_iter().map(|known| PushDeviceView {
        device: known.device,
        via: PushVia::of(&known.target),
        registered: known.registered,
        failure: known.failure,
    });
    Ok(InnerAnswer::Pushes(PushState { devices: devices.collect(), quiet: row.quiet, server_key: sender.server_key() }))
}

/// There: sends each of them a push that says nothing.
pub(super) async fn test(handle: &GroupHandle, sender: &Sender, user: UserId, clock: &SharedClock) -> Result<InnerAnswer, Refusal> {
    sender.may_test(user, clock.instant()).map_err(limited)?;
    handle.read_barrier().await.map_err(not_proposed)?;
    let (row, badge) = {
        let view = view(handle)?;
        let row = rows::pushes(&view, user).map_err(|error| broken(&error))?;
        (row, rows::badge(&view, user, clock.now()).map_err(|error| broken(&error))?)
    };
    Ok(InnerAnswer::Tested(sender.test(user, badge, &row).await))
}
