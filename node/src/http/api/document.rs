//! The OpenAPI document: made from the handlers, served, and checked in as `node/openapi.json`.
//!
//! A test holds the two together: `KITH_GOLDEN=write` writes the file anew.

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Components, ContentBuilder, HeaderBuilder, Ref, RefOr, ResponseBuilder,
        path::{Operation, ParameterBuilder, ParameterIn},
        schema::{AdditionalProperties, Schema},
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes as all};

use super::{
    Api, form,
    problem::ProblemBody,
    routes::{
        accounts, acts, admins, bots, channels, cluster, contacts, desk, export, groups, joins, layout, members, messages, people, preferences,
        presence, push, scheduled, search, shards, updates, upgrade, webhooks,
    },
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Kith",
        description = "Chat over plain HTTP. Any node answers any request. A write that was answered is on the disks of a quorum; the same \
                       `Idempotency-Key` is the same write for a day, over any node. Keys are each user's own. Who comes without a token has those of \
                       the account that they prove to be: a refusal there is not kept. Secrets of an answer are kept nowhere: they follow from the key, \
                       and each retry shows them; access tokens are made anew.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    components(schemas(ProblemBody)),
    security(("token" = [])),
    tags(
        (name = "accounts", description = "Signing up, logging in, devices, passwords, names"),
        (name = "messages", description = "Sending, reading back, and what is done about a text"),
        (name = "channels", description = "Conversations"),
        (name = "groups", description = "Running a group"),
        (name = "members", description = "Who is in a group"),
        (name = "updates", description = "What has changed, asked for or listened to"),
        (name = "people", description = "Who one is, and who others are"),
        (name = "bots", description = "Users that a program is, by a token that lasts"),
        (name = "webhooks", description = "What happens in a channel, posted to a URL"),
        (name = "cluster", description = "Where to go, and what errors mean"),
        (name = "operators", description = "For those who run the cluster"),
    ),
)]
struct Head;

/// The routes, with what is said of them.
pub(super) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(Head::openapi())
        .merge(account_routes())
        .merge(chat_routes())
        .merge(people_routes())
        .merge(webhook_routes())
        .merge(cluster_routes())
}

fn account_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(all!(accounts::sign_up))
        .routes(all!(accounts::log_in))
        .routes(all!(accounts::log_in_with))
        .routes(all!(accounts::refresh))
        .routes(all!(accounts::reset_password))
        .routes(all!(accounts::ask_reset))
        .routes(all!(accounts::devices))
        .routes(all!(accounts::end_device))
        .routes(all!(accounts::change_password))
        .routes(all!(accounts::rename))
        .routes(all!(accounts::recovery_code))
        .routes(all!(accounts::delete))
        .routes(all!(accounts::reset_code))
        .routes(all!(export::export))
}

fn chat_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(all!(messages::send, messages::history))
        .routes(all!(acts::get, acts::edit, acts::delete))
        .routes(all!(acts::reactions))
        .routes(all!(acts::react, acts::unreact))
        .routes(all!(acts::pin, acts::unpin))
        .routes(all!(acts::forward))
        .routes(all!(acts::seen))
        .routes(all!(desk::report))
        .routes(all!(acts::typing))
        .routes(all!(search::search))
        .routes(all!(scheduled::schedule, scheduled::list))
        .routes(all!(scheduled::unschedule))
        .routes(all!(channels::list, channels::create))
        .routes(all!(channels::get))
        .routes(all!(channels::read))
        .routes(all!(channels::delivered))
        .routes(all!(preferences::set))
        .routes(all!(groups::get))
        .routes(all!(groups::describe))
        .routes(all!(groups::rules))
        .routes(all!(groups::hand_over))
        .routes(all!(groups::mute, groups::unmute))
        .routes(all!(groups::ban, groups::unban))
        .routes(all!(groups::make_link))
        .routes(all!(groups::end_link))
        .routes(all!(groups::join))
        .routes(all!(groups::refuse))
        .routes(all!(members::add))
        .routes(all!(members::set_role, members::remove))
        .routes(all!(updates::sync))
        .routes(all!(updates::events))
}

fn people_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(all!(people::me))
        .routes(all!(people::users))
        .routes(all!(people::ensure_account))
        .routes(all!(contacts::profile))
        .routes(all!(contacts::set_profile))
        .routes(all!(contacts::search))
        .routes(all!(contacts::contacts))
        .routes(all!(contacts::ask, contacts::drop))
        .routes(all!(contacts::block, contacts::unblock))
        .routes(all!(presence::get))
        .routes(all!(presence::hide))
        .routes(all!(push::register, push::unregister, push::list))
        .routes(all!(push::test))
        .routes(all!(push::quiet))
        .routes(all!(bots::make, bots::list))
        .routes(all!(bots::token, bots::end_token))
        .routes(all!(bots::delete))
}

fn webhook_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(all!(webhooks::add, webhooks::list))
        .routes(all!(webhooks::remove))
        .routes(all!(webhooks::test))
        .routes(all!(webhooks::add_of_cluster, webhooks::list_of_cluster))
        .routes(all!(webhooks::remove_of_cluster))
        .routes(all!(webhooks::test_of_cluster))
}

fn cluster_routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(all!(cluster::nodes))
        .routes(all!(cluster::problem))
        .routes(all!(cluster::openapi))
        .routes(all!(cluster::status))
        .routes(all!(layout::show))
        .routes(all!(layout::plan))
        .routes(all!(layout::apply))
        .routes(all!(layout::decommission))
        .routes(all!(layout::recommission))
        .routes(all!(layout::drain))
        .routes(all!(upgrade::show))
        .routes(all!(upgrade::finalize))
        .routes(all!(shards::list))
        .routes(all!(shards::begin))
        .routes(all!(shards::cancel))
        .routes(all!(joins::list, joins::make))
        .routes(all!(joins::revoke))
        .routes(all!(admins::list, admins::make))
        .routes(all!(admins::claim))
        .routes(all!(admins::revoke))
        .routes(all!(admins::vitals))
        .routes(all!(desk::reports))
        .routes(all!(desk::close))
        .routes(all!(desk::ban, desk::unban))
        .routes(all!(desk::audit))
}

/// The document, as it is served.
pub fn document() -> String {
    let (_, mut document) = routes().split_for_parts();
    Common.modify(&mut document);
    document.to_pretty_json().map(|text| text + "\n").unwrap_or_default()
}

/// What every operation has: the token's scheme, problems, and a key where it writes.
struct Common;

impl Modify for Common {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let components = document.components.get_or_insert_with(Components::new);
        let scheme = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .bearer_format("JWT")
            .description(Some("An access token, a bot's, or an admin token"))
            .build();
        components.add_security_scheme("token", SecurityScheme::Http(scheme));
        components.schemas.get_mut("PushTarget").into_iter().for_each(close_variants);
        for item in document.paths.paths.values_mut() {
            let writes = [&mut item.post, &mut item.put, &mut item.delete];
            writes.into_iter().flatten().filter(|operation| takes_key(operation)).for_each(add_key);
            let all = [&mut item.get, &mut item.post, &mut item.put, &mut item.delete];
            all.into_iter().flatten().for_each(|operation| {
                form::of_path(operation);
                add_problem(operation);
            });
        }
    }
}

/// In a body nothing is taken that is not known: of a struct the document says so by itself, of an enum it does not.
fn close_variants(schema: &mut RefOr<Schema>) {
    let RefOr::T(Schema::OneOf(one_of)) = schema else { return };
    for variant in &mut one_of.items {
        if let RefOr::T(Schema::Object(object)) = variant {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
        }
    }
}

fn add_problem(operation: &mut Operation) {
    let content = ContentBuilder::new().schema(Some(RefOr::Ref(Ref::from_schema_name("Problem")))).build();
    let wait = HeaderBuilder::new().description(Some("Seconds to wait before asking again")).build();
    let problem = ResponseBuilder::new().description("Refused").content("application/problem+json", content).header("Retry-After", wait).build();
    operation.responses.responses.insert("default".to_owned(), RefOr::T(problem));
}

/// What leaves nothing behind is as good asked twice: there a key is refused.
fn takes_key(operation: &Operation) -> bool {
    operation.operation_id.as_ref().is_none_or(|id| !KEYLESS.contains(&id.as_str()))
}

fn add_key(operation: &mut Operation) {
    let parameters = operation.parameters.get_or_insert_with(Vec::new);
    let text = "A UUID of version 7, drawn by the caller for this one write. The same key is the same write for 24 h, over any node; with anything \
                else under it the answer is 422.";
    let schema = utoipa::openapi::ObjectBuilder::new()
        .schema_type(utoipa::openapi::schema::Type::String)
        .pattern(Some("^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$"))
        .examples(["01983b2e-6d5c-7a41-9c0e-3f2b8d7a6e10"]);
    let key = ParameterBuilder::new().name(KEY).parameter_in(ParameterIn::Header).description(Some(text)).schema(Some(schema)).build();
    parameters.push(RefOr::T(key));
}

const KEY: &str = "Idempotency-Key";
/// Writes that refuse a key.
pub(super) const KEYLESS: &[&str] = &["typing", "askReset", "makeAdminToken", "claimAdminToken", "makeJoinToken"];

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");

    #[test]
    fn the_document_that_is_checked_in_is_the_one_that_is_served() {
        if std::env::var("KITH_GOLDEN").is_ok_and(|value| value == "write") {
            std::fs::write(KEPT, document()).unwrap();
        }
        let kept = std::fs::read_to_string(KEPT).unwrap();
        assert!(kept == document(), "node/openapi.json is not what the handlers say: run this test with KITH_GOLDEN=write");
    }

    #[test]
    fn every_write_has_a_key_and_every_operation_its_problems() {
        let document: serde_json::Value = serde_json::from_str(&document()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        for (path, item) in document["paths"].as_object().unwrap() {
            for (method, operation) in item.as_object().unwrap() {
                assert!(operation["responses"]["default"].is_object(), "{method} {path}");
                let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
                let keys = parameters.iter().filter(|parameter| parameter["name"] == KEY).count();
                let id = operation["operationId"].as_str().unwrap();
                assert_eq!(keys, usize::from(method != "get" && !KEYLESS.contains(&id)), "{method} {path}");
                assert!(operation["operationId"].is_string() && operation["tags"].is_array(), "{method} {path}");
            }
        }
    }
}
