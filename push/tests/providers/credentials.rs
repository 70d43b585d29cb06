//! Where credentials come from, and what is said of bad ones.

use std::{error::Error, sync::Arc};

use kith_push::*;

use crate::{server::answer, world::*};

/// What stands in an error's chain.
fn told(error: &CredentialError) -> String {
    format!("{error}: {}", error.source().unwrap())
}

async fn broken(settings: Settings, env: ReadEnv, provider: Provider) -> String {
    let push = Push::open(settings, env, Arc::default()).await.unwrap();
    let Standing::Broken(error) = push.standing(provider) else { panic!("{:?}", push.standing(provider)) };
    push.close().await;
    told(&error)
}

#[tokio::test]
async fn credentials_come_from_variables_too() {
    let world = World::new();
    let server = world.server().await;
    world.write_account(&server, "kith-chat");
    let account = std::fs::read_to_string(world.path("account.json")).unwrap();
    let (apns, vapid) = (world.apns_key.serialize_pem(), world.vapid_key.serialize_pem());
    let env: ReadEnv = Arc::new(move |name| match name {
        "A" => Some(apns.clone()),
        "F" => Some(account.clone()),
        "W" => Some(vapid.clone()),
        _ => None,
    });
    let mut settings = world.settings(&server);
    let key_env = |name: &str| Some(name.to_owned());
    settings.apns = settings.apns.map(|apns| ApnsSettings { key_file: None, key_env: key_env("A"), key_id: Some("KEY1234567".to_owned()), ..apns });
    settings.fcm = settings.fcm.map(|fcm| FcmSettings { account_file: None, account_env: key_env("F"), ..fcm });
    settings.web_push = settings.web_push.map(|web| WebPushSettings { key_file: None, key_env: key_env("W"), ..web });
    let push = Push::open(settings, env, Arc::default()).await.unwrap();
    for provider in Provider::ALL {
        assert_eq!(push.standing(provider), Standing::Ready, "{provider}");
    }
    assert_eq!(send(&push, &to(apple())).await, Outcome::Delivered);
    push.close().await;
}

#[tokio::test]
async fn a_bad_credential_is_told_of_with_its_place_and_its_fault() {
    let world = World::new();
    let server = world.server().await;
    let settings = world.settings(&server);
    let apns = |change: fn(ApnsSettings) -> ApnsSettings| Settings { apns: settings.apns.clone().map(change), ..settings.clone() };
    let text = broken(apns(|apns| ApnsSettings { team_id: None, ..apns }), no_env(), Provider::Apns).await;
    assert!(text.starts_with("the credential of apns in ") && text.ends_with("team_id is missing, or is not ten letters and digits"), "{text}");
    let text = broken(apns(|apns| ApnsSettings { key_env: Some("X".to_owned()), ..apns }), no_env(), Provider::Apns).await;
    assert!(text.contains("exactly one of the two settings is given"), "{text}");
    let text = broken(apns(|apns| ApnsSettings { key_file: None, key_env: Some("X".to_owned()), ..apns }), no_env(), Provider::Apns).await;
    assert!(text.contains("in $X cannot be used: the variable is not set"), "{text}");
    let text = broken(settings.clone(), no_env(), Provider::Fcm).await;
    assert!(text.contains("account.json") && text.contains("the file cannot be read: entity not found"), "{text}");
    for (name, provider, content, fault) in [
        ("AuthKey_KEY1234567.p8", Provider::Apns, "canary", "there is no private key in it"),
        ("AuthKey_KEY1234567.p8", Provider::Apns, "{\"key_id\": \"canary", "its JSON cannot be read (line 1, column 18)"),
        ("AuthKey_KEY1234567.p8", Provider::Apns, "{\"key_id\": \"canary\"}", "private_key is missing"),
        ("account.json", Provider::Fcm, "{\"type\": \"canary\"}", "type is missing, or is not \"service_account\""),
        (
            "account.json",
            Provider::Fcm,
            "{\"type\": \"service_account\", \"project_id\": \"canary/../x\"}",
            "project_id is missing, or is not a project's id",
        ),
        ("account.json", Provider::Fcm, "{\"type\": 7}", "its JSON cannot be read (line 1, column 10)"),
        ("vapid.pem", Provider::WebPush, "", "there is no private key in it"),
        ("vapid.pem", Provider::WebPush, "canary", "there is no private key in it"),
        ("vapid.pem", Provider::WebPush, "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "is not one of P-256"),
    ] {
        world.write(name, content);
        let text = broken(settings.clone(), no_env(), provider).await;
        assert!(text.contains(fault) && !text.contains("canary"), "{text}");
    }
    // A key of the wrong kind.
    world.write_account(&server, "kith-chat");
    let account: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(world.path("account.json")).unwrap()).unwrap();
    world.write("AuthKey_KEY1234567.p8", account["private_key"].as_str().unwrap());
    assert!(broken(settings.clone(), no_env(), Provider::Apns).await.contains("is not one of P-256"));
    let mut account = account;
    account["private_key"] = world.apns_key.serialize_pem().into();
    world.write("account.json", &account.to_string());
    assert!(broken(settings.clone(), no_env(), Provider::Fcm).await.contains("not one of RSA"));
}

#[tokio::test]
async fn a_good_credential_stays_in_use_until_there_is_a_better_one() {
    let world = World::new();
    let server = world.server().await;
    let push = world.push(&server).await;
    assert_eq!(send(&push, &to(apple())).await, Outcome::Delivered);
    let file = "AuthKey_KEY1234567.p8";
    world.write(file, "half of a k");
    let changed = push.reload().await;
    assert!(matches!(&changed[..], [Reloaded { provider: Provider::Apns, result: Err(_) }]), "{changed:?}");
    assert_eq!(push.reload().await, [], "it is said once");
    assert!(matches!(push.standing(Provider::Apns), Standing::Stale(_)));
    assert_eq!(send(&push, &to(apple())).await, Outcome::Delivered);
    std::fs::remove_file(world.path(file)).unwrap();
    assert_eq!(push.reload().await.len(), 1);
    assert_eq!(send(&push, &to(apple())).await, Outcome::Delivered);
    world.write(file, &world.apns_key.serialize_pem());
    assert_eq!(push.reload().await, [Reloaded { provider: Provider::Apns, result: Ok(()) }]);
    assert_eq!(push.standing(Provider::Apns), Standing::Ready);
    push.close().await;
}

#[tokio::test]
async fn a_setting_that_can_never_work_is_an_error() {
    let world = World::new();
    let server = world.server().await;
    server.then([answer(200, "")]);
    let settings = world.settings(&server);
    let opened = async |settings| Push::open(settings, no_env(), Arc::default()).await.err().map(|error| error.to_string());
    let fcm = Some(FcmSettings { url: Some("ftp://x".to_owned()), ..FcmSettings::default() });
    assert_eq!(opened(Settings { fcm, ..settings.clone() }).await.as_deref(), Some("push.fcm.url is no address of a server"));
    let fcm = Some(FcmSettings { url: Some("http://x".to_owned()), ..FcmSettings::default() });
    assert_eq!(opened(Settings { fcm, ..settings.clone() }).await.as_deref(), Some("push.fcm.url does not begin with https://"));
    let apns = Some(ApnsSettings { topic: Some("a b".to_owned()), ..ApnsSettings::default() });
    assert_eq!(opened(Settings { apns, ..settings.clone() }).await.as_deref(), Some("push.apns.topic is none"));
    let ca_file = Some(world.path("none.pem"));
    assert_eq!(opened(Settings { ca_file, ..settings }).await.as_deref(), Some("no server of a provider could be believed"));
}
