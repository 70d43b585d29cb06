//! Where each setting of a node is from, and which key may be meant by one that there is not.
//!
//! In: the settings and the layers that they were read from. Out: one [`Setting`] a value, defaults included, and the same as a file.
//! Not here: reading the layers.

use std::fmt::Write as _;

use config::{Source, Value, ValueKind};
use serde::Serialize;

use super::Config;

/// One value.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Setting {
    /// `section.key`.
    pub key: String,
    /// As it is used: paths are whole.
    pub value: toml::Value,
    /// Who said so.
    pub origin: Origin,
}

impl Setting {
    /// As somebody else may see it: without what stands before the host of a URL, and without values of keys that could be a secret. Settings name
    /// files and variables that hold secrets; this is for who wrote one where a name belongs.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let last = self.key.rsplit('.').next().unwrap_or_default();
        let value = if is_secret(last) { toml::Value::String(HIDDEN.to_owned()) } else { hide(&self.value) };
        Self { value, ..self.clone() }
    }
}

fn hide(value: &toml::Value) -> toml::Value {
    match value {
        toml::Value::String(text) => toml::Value::String(without_user(text)),
        toml::Value::Array(values) => toml::Value::Array(values.iter().map(hide).collect()),
        toml::Value::Table(keys) => {
            let shown = |(key, value): (&String, &toml::Value)| {
                let value = if is_secret(key) { toml::Value::String(HIDDEN.to_owned()) } else { hide(value) };
                (key.clone(), value)
            };
            toml::Value::Table(keys.iter().map(shown).collect())
        }
        other => other.clone(),
    }
}

fn is_secret(key: &str) -> bool {
    SECRETS.iter().any(|word| key.contains(word)) && !key.ends_with("_file") && !key.ends_with("_env")
}

fn without_user(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    match rest[..end].rfind('@') {
        Some(at) => format!("{scheme}://{HIDDEN}@{}", &rest[at + 1..]),
        None => text.to_owned(),
    }
}

/// Who said what a setting is; each wins over those before it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Origin {
    /// Nobody.
    Default,
    /// `node.toml`.
    File,
    /// A variable `KITH_<SECTION>__<KEY>`.
    Environment,
    /// `--set`.
    Flag,
}

impl Origin {
    /// For a person.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }
}

/// All values, sorted by key.
pub(super) fn settings(config: &Config, layers: &config::Config) -> Result<Vec<Setting>, String> {
    let whole = toml::Value::try_from(config).map_err(|error| error.to_string())?;
    let said = layers.collect().map_err(|error| error.to_string())?;
    let mut settings = Vec::new();
    let sections = whole.as_table().into_iter().flatten();
    for (section, keys) in sections {
        let said = said.get(section).and_then(|section| if let ValueKind::Table(keys) = &section.kind { Some(keys) } else { None });
        for (key, value) in keys.as_table().into_iter().flatten() {
            let origin = said.and_then(|keys| keys.get(key)).map_or(Origin::Default, of);
            settings.push(Setting { key: format!("{section}.{key}"), value: value.clone(), origin });
        }
    }
    settings.sort_by(|a, b| a.key.cmp(&b.key));
    Ok(settings)
}

fn of(value: &Value) -> Origin {
    match value.origin() {
        Some(ENVIRONMENT) => Origin::Environment,
        Some(_) => Origin::File,
        // An array's own values carry it, not the array.
        None => match &value.kind {
            ValueKind::Array(values) => values.first().map_or(Origin::File, of),
            _ => Origin::Flag,
        },
    }
}

/// The settings as a file, each with its origin as a comment where that is wanted.
pub(crate) fn toml(settings: &[Setting], with_origin: bool) -> String {
    let (mut text, mut last) = (String::new(), "");
    for setting in settings {
        let (section, key) = setting.key.split_once('.').unwrap_or(("", &setting.key));
        if section != last {
            let gap = if text.is_empty() { "" } else { "\n" };
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{gap}[{section}]");
            last = section;
        }
        let origin = if with_origin { format!("  # {}", setting.origin.text()) } else { String::new() };
        let _ = writeln!(text, "{key} = {}{origin}", setting.value);
    }
    text
}

/// The key that may be meant, out of what the parser says of one that it does not know.
pub(super) fn suggestion(error: &str) -> Option<String> {
    let mut quoted =
        error.strip_prefix("unknown field").or_else(|| error.split_once("unknown field").map(|(_, rest)| rest))?.split('`').skip(1).step_by(2);
    let unknown = quoted.next()?;
    let near = |known: &str| strsim::jaro_winkler(unknown, known);
    quoted.filter(|known| near(known) >= ALIKE).max_by(|a, b| near(a).total_cmp(&near(b))).map(str::to_owned)
}

/// In the place of what is not shown.
const HIDDEN: &str = "(hidden)";
/// Parts of the names of keys whose values are not shown.
const SECRETS: &[&str] = &["secret", "token", "password"];
/// What `config` calls the environment.
const ENVIRONMENT: &str = "the environment";
/// As alike as a slip of the finger leaves two words.
const ALIKE: f64 = 0.8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_be_a_secret_is_not_shown_to_others() {
        let setting = |key: &str, value: &str| Setting { key: key.into(), value: value.parse().unwrap(), origin: Origin::File };
        let shown = |key: &str, value: &str| setting(key, value).redacted().value.to_string();
        assert_eq!(shown("auth.client_secret", "'canary'"), "\"(hidden)\"");
        assert_eq!(shown("auth.reset", "{ url = 'https://ann:canary@host/x', key = 'reset.key' }").matches("canary").count(), 0);
        assert!(shown("auth.issuers", "[{ token = 'canary', issuer = 'https://host/a@b' }]").contains("https://host/a@b"));
        assert_eq!(shown("push.apns", "{ key_file = 'p8' }"), "{ key_file = \"p8\" }");
        assert_eq!(shown("node.id", "4"), "4");
    }
}
