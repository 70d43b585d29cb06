//! The cluster's certificate authority: made by kith itself, ECDSA P-256.
//!
//! In: the cluster's id, a node's id and address. Out: PEM texts. A node's certificate names `node-<id>.<cluster>.kith`, which its peers
//! check, and the hosts that clients dial.

use std::net::IpAddr;

use kith_wire::id::{ClusterId, NodeId};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    PublicKeyData as _, SanType, SubjectPublicKeyInfo,
};

use crate::peer::tls::node_name;

/// The authority's key and certificate.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    cert_pem: String,
    key_pem: String,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Authority(..)")
    }
}

impl Authority {
    /// Draws a key and signs its own certificate.
    ///
    /// # Errors
    /// The crypto library fails.
    pub fn create(cluster: ClusterId) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
        let params = params(cluster);
        let cert_pem = params.self_signed(&key)?.pem();
        let key_pem = key.serialize_pem();
        Ok(Self { issuer: Issuer::new(params, key), cert_pem, key_pem })
    }

    /// The cluster's own, again, from its files. Of several keys the first signs.
    ///
    /// # Errors
    /// The key cannot be read.
    pub fn load(cluster: ClusterId, cert_pem: &str, key_pem: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::from_pem(key_pem)?;
        Ok(Self { issuer: Issuer::new(params(cluster), key), cert_pem: cert_pem.to_owned(), key_pem: key_pem.to_owned() })
    }

    /// The certificate, for everybody.
    pub fn cert_pem(&self) -> &str {
        &self.cert_pem
    }

    /// The key: whoever has it can make nodes.
    pub fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The public part of the key, in DER.
    pub fn public(&self) -> Vec<u8> {
        self.issuer.key().subject_public_key_info()
    }

    /// A node's certificate and key. `hosts`: names and addresses that clients dial.
    ///
    /// # Errors
    /// A host is not a name, or the crypto library fails.
    pub fn issue(&self, node: NodeId, cluster: ClusterId, hosts: &[String]) -> Result<(String, String), rcgen::Error> {
        let key = NodeKey::draw()?;
        Ok((self.certify(node, cluster, hosts, &key.public())?, key.pem()))
    }

    /// A node's certificate for a key that the node keeps; `key` is its public part, in DER.
    ///
    /// # Errors
    /// The key is none, a host is not a name, or the crypto library fails.
    pub fn certify(&self, node: NodeId, cluster: ClusterId, hosts: &[String], key: &[u8]) -> Result<String, rcgen::Error> {
        let key = SubjectPublicKeyInfo::from_der(key)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("kith node {node}"));
        params.subject_alt_names = vec![SanType::DnsName(node_name(node, cluster).try_into()?)];
        for host in hosts {
            params.subject_alt_names.push(match host.parse::<IpAddr>() {
                Ok(address) => SanType::IpAddress(address),
                Err(_) => SanType::DnsName(host.clone().try_into()?),
            });
        }
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        Ok(params.signed_by(&key, &self.issuer)?.pem())
    }
}

/// A node's own key.
pub struct NodeKey(KeyPair);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(..)")
    }
}

impl NodeKey {
    /// Draws one.
    ///
    /// # Errors
    /// The crypto library fails.
    pub fn draw() -> Result<Self, rcgen::Error> {
        KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map(Self)
    }

    /// One that was drawn before.
    ///
    /// # Errors
    /// The text is no key.
    pub fn from_pem(pem: &str) -> Result<Self, rcgen::Error> {
        KeyPair::from_pem(pem).map(Self)
    }

    /// For its file.
    pub fn pem(&self) -> String {
        self.0.serialize_pem()
    }

    /// Its public part, in DER.
    pub fn public(&self) -> Vec<u8> {
        self.0.subject_public_key_info()
    }

    /// A certificate by itself, which proves nothing but that its holder has the key.
    ///
    /// # Errors
    /// The crypto library fails.
    pub fn shown(&self) -> Result<String, rcgen::Error> {
        let mut params = CertificateParams::default();
        params.distinguished_name = name("kith node that joins");
        Ok(params.self_signed(&self.0)?.pem())
    }
}

fn params(cluster: ClusterId) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = name(&format!("kith cluster {cluster}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}
