//! What the document says of values beyond their type, where more than one place says it or no attribute could.
//!
//! Formats that are Kith's own (`user-name`, `name-prefix`, `shown-line`, `shown-text`, `picture-url`, `webhook-url`) are those whose rule no pattern
//! holds, since characters count as what they fold to; `tests/schemathesis/hooks.py` has them a second time.

use kith_wire::limit;
use serde::{Deserialize, Deserializer};
use utoipa::openapi::{
    ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat,
    path::{Operation, ParameterIn},
    schema::{AdditionalProperties, KnownFormat, Type},
};

use super::number;

/// A value that may be left out, but is not `null`.
pub(super) fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<String>, D::Error> {
    String::deserialize(from).map(Some)
}

/// How long texts are kept: for ever, or for a time.
pub(super) fn retention() -> Schema {
    let number = || ObjectBuilder::new().schema_type(Type::Integer).format(Some(SchemaFormat::KnownFormat(KnownFormat::Int64)));
    let kept = number().minimum(Some(limit::RETENTION_MS_MIN)).maximum(Some(number::MAX));
    let text = "A text is kept so long, in milliseconds, at least a minute; 0: for ever.";
    OneOfBuilder::new().item(number().minimum(Some(0)).maximum(Some(0))).item(kept).description(Some(text)).into()
}

/// What an app adds to a profile.
pub(super) fn fields() -> Schema {
    let line = |bytes_or_chars: usize| {
        let line = ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("shown-line".to_owned())));
        line.max_length(Some(bytes_or_chars))
    };
    let text = "Of the app: at most 16, keys of at most 32 bytes, values of at most 256 characters.";
    let fields = ObjectBuilder::new().schema_type(Type::Object).description(Some(text)).max_properties(Some(limit::PROFILE_FIELDS_MAX));
    let values = AdditionalProperties::RefOr(RefOr::T(line(limit::PROFILE_VALUE_CHARS_MAX).into()));
    let keys = Schema::Object(line(limit::PROFILE_KEY_BYTES_MAX).min_length(Some(1)).build());
    fields.property_names(Some(keys)).additional_properties(Some(values)).into()
}

/// Says what forms the parts of a path have.
pub(super) fn of_path(operation: &mut Operation) {
    let id = operation.operation_id.clone().unwrap_or_default();
    for parameter in operation.parameters.iter_mut().flatten() {
        let RefOr::T(parameter) = parameter else { continue };
        let (ParameterIn::Path, Some(RefOr::T(Schema::Object(schema)))) = (&parameter.parameter_in, &mut parameter.schema) else { continue };
        let pattern = match parameter.name.as_str() {
            "channel" => PLACE,
            "user" if MAY_SAY_ME.contains(&id.as_str()) => USER_OR_ME,
            "user" | "bot" => USER,
            "name" => {
                schema.format = Some(SchemaFormat::Custom("user-name".to_owned()));
                continue;
            }
            _ => continue,
        };
        schema.pattern = Some(pattern.to_owned());
    }
}

const PLACE: &str = "^(0[12][0-9a-fA-F]{32}|@.{1,64})$";
const USER: &str = "^u[0-9a-fA-F]{16}$";
const USER_OR_ME: &str = "^(u[0-9a-fA-F]{16}|me)$";
/// Operations that take `me` for who asks.
const MAY_SAY_ME: &[&str] = &["profile", "removeMember"];
