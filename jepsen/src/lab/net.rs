//! Network namespaces on a bridge of their own, or on the harness's switch, and partitions between them. Nothing of the machine's own interfaces is touched.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::Context;

use super::shell;
use super::switch::{self, Port};

/// Names of all namespaces begin with it.
pub(super) const PREFIX: &str = "kithj-";

/// One place on the bridge.
#[derive(Clone, Debug)]
pub struct Place {
    /// Its namespace.
    pub namespace: String,
    /// Its address.
    pub address: Ipv4Addr,
}

/// File of a namespace.
pub(super) fn file(namespace: &str) -> PathBuf {
    PathBuf::from("/run/netns").join(namespace)
}

/// Makes the bridge.
pub(super) fn make_bridge(run: &str) -> anyhow::Result<String> {
    let bridge = format!("{PREFIX}{run}-sw");
    shell::words(&format!("ip netns add {bridge}")).context("making a network namespace")?;
    shell::words(&format!("ip -n {bridge} link add br0 type bridge"))?;
    shell::words(&format!("ip -n {bridge} link set br0 up"))?;
    Ok(bridge)
}

/// Makes a place with a name and a last byte of its address, on the bridge.
pub(super) fn make_place(run: &str, bridge: &str, name: &str, last: u8) -> anyhow::Result<Place> {
    let namespace = make_namespace(run, name)?;
    shell::words(&format!("ip link add v{last} netns {bridge} type veth peer name eth0 netns {namespace}"))?;
    shell::words(&format!("ip -n {bridge} link set v{last} master br0 up"))?;
    connect(namespace, last)
}

/// Makes a place whose cable ends in this process.
pub(super) fn make_place_on_switch(run: &str, name: &str, last: u8) -> anyhow::Result<(Place, Port)> {
    let namespace = make_namespace(run, name)?;
    let port = Port::open(&file(&namespace), "eth0", last)?;
    let card: Vec<String> = switch::card(last).iter().map(|byte| format!("{byte:02x}")).collect();
    // The kernel keeps frames while the switch is not scheduled, rather than lose some that no rule asked for.
    shell::words(&format!("ip -n {namespace} link set eth0 address {} txqueuelen 4096", card.join(":")))?;
    Ok((connect(namespace, last)?, port))
}

fn make_namespace(run: &str, name: &str) -> anyhow::Result<String> {
    let namespace = format!("{PREFIX}{run}-{name}");
    shell::words(&format!("ip netns add {namespace}")).context("making a network namespace")?;
    Ok(namespace)
}

fn connect(namespace: String, last: u8) -> anyhow::Result<Place> {
    let address = Ipv4Addr::new(10, 77, 0, last);
    for line in [
        format!("ip -n {namespace} addr add {address}/24 dev eth0"),
        format!("ip -n {namespace} link set eth0 up"),
        format!("ip -n {namespace} link set lo up"),
    ] {
        shell::words(&line)?;
    }
    let rules = "add table inet jep\nadd counter inet jep dropped\nadd set inet jep blocked { type ipv4_addr ; }\n\
                 add counter inet jep datagrams\nadd set inet jep no_udp { type ipv4_addr ; }\n\
                 add chain inet jep in { type filter hook input priority 0 ; }\nadd rule inet jep in ip saddr @blocked counter name dropped drop\n\
                 add rule inet jep in ip saddr @no_udp meta l4proto udp counter name datagrams drop\n";
    nft(&namespace, rules).context("making the rules of partitions")?;
    Ok(Place { namespace, address })
}

fn nft(namespace: &str, rules: &str) -> anyhow::Result<String> {
    shell::feed("nsenter", [&format!("--net={}", file(namespace).display()), "nft", "-f", "-"], rules)
}

impl Place {
    /// Answers at another address too, with this last byte.
    ///
    /// # Errors
    /// The kernel refuses.
    pub(super) fn also_at(&self, last: u8) -> anyhow::Result<()> {
        shell::words(&format!("ip -n {} addr add 10.77.0.{last}/24 dev eth0", self.namespace)).map(drop)
    }

    /// Takes no datagrams of this one any more, as behind a firewall that lets TCP through alone.
    ///
    /// # Errors
    /// The rules are refused.
    pub fn refuse_udp(&self, from: Ipv4Addr) -> anyhow::Result<()> {
        nft(&self.namespace, &format!("add element inet jep no_udp {{ {from} }}\n")).map(drop)
    }

    /// Takes everybody's.
    ///
    /// # Errors
    /// The rules are refused.
    pub fn take_udp(&self) -> anyhow::Result<()> {
        nft(&self.namespace, "flush set inet jep no_udp\n").map(drop)
    }

    /// Stops hearing these.
    ///
    /// # Errors
    /// The rules are refused.
    pub fn block(&self, from: &[Ipv4Addr]) -> anyhow::Result<()> {
        if from.is_empty() {
            return Ok(());
        }
        let list: Vec<String> = from.iter().map(ToString::to_string).collect();
        nft(&self.namespace, &format!("add element inet jep blocked {{ {} }}\n", list.join(", "))).map(drop)
    }

    /// Hears everybody.
    ///
    /// # Errors
    /// The rules are refused.
    pub fn unblock(&self) -> anyhow::Result<()> {
        nft(&self.namespace, "flush set inet jep blocked\n").map(drop)
    }

    /// Packets dropped so far.
    ///
    /// # Errors
    /// The counter cannot be read.
    pub fn dropped(&self) -> anyhow::Result<u64> {
        self.count("dropped")
    }

    /// Datagrams refused so far.
    ///
    /// # Errors
    /// The counter cannot be read.
    pub fn datagrams_refused(&self) -> anyhow::Result<u64> {
        self.count("datagrams")
    }

    fn count(&self, counter: &str) -> anyhow::Result<u64> {
        let text = shell::run("nsenter", [&format!("--net={}", file(&self.namespace).display()), "nft", "list", "counter", "inet", "jep", counter])?;
        let count = text.split_once("packets").and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok());
        count.with_context(|| format!("reading a counter: {text:?}"))
    }
}

/// Ends what runs in the namespaces of a run, and removes them.
pub(super) fn remove(run: &str) {
    let prefix = format!("{PREFIX}{run}-");
    let Ok(entries) = std::fs::read_dir("/run/netns") else { return };
    let own = std::process::id().to_string();
    for name in entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with(&prefix)) {
        if let Ok(pids) = shell::run("ip", ["netns", "pids", &name]) {
            for pid in pids.split_whitespace().filter(|pid| *pid != own) {
                // Gone already is as good.
                let _ = shell::run("kill", ["-9", pid]);
            }
        }
        if let Err(error) = shell::run("ip", ["netns", "del", &name]) {
            eprintln!("warning: {error:#}");
        }
    }
}
