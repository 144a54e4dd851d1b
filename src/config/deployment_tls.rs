//! `tls` of a provider -> [`Trust`]: certificates, keys, hashes and names behind files and variables.
//!
//! **Invariants**: nothing of a file or of a variable's value is repeated in a fault: a key may have been put where its path
//! belongs.

use secrecy::ExposeSecret as _;

use super::deployment::{Literals, Reader};
use super::file::{ClientCert, Tls};
use super::place::Path;
use super::sources::{ReadError, Sources};
use super::yaml::Node;
use crate::route::Endpoint;
use crate::trust::{self, PemError, Pin, ServerName, Trust};

impl Reader<'_> {
    /// Whom the provider's https trusts. What has a fault is left out, and the fault is noted.
    pub(super) fn trust(&mut self, tls: &Tls, endpoint: Option<&Endpoint>, sources: &Sources) -> Trust {
        let path = &tls.place.path;
        let mut trust = Trust::default();
        if let Some(node) = &tls.ca_file
            && let Some(text) = self.pem(node, &path.key("ca_file"), sources)
        {
            self.environment.note_public(&text);
            match trust::authorities(&text) {
                Ok(authorities) => trust.authorities = Some(authorities),
                Err(error) => self.unusable(node, &path.key("ca_file"), error),
            }
        }
        for node in &tls.pin_sha256 {
            trust.pins.extend(self.pins(node, &path.key("pin_sha256")));
        }
        if let Some(node) = &tls.server_name {
            trust.server_name = self.server_name(node, &path.key("server_name"));
        }
        if let Some(client) = &tls.client_cert {
            self.identity(client, sources, &mut trust);
        }
        if !trust.is_default() && endpoint.is_some_and(|endpoint| endpoint.scheme != http::uri::Scheme::HTTPS) {
            self.faults
                .fault(
                    tls.place.span,
                    path,
                    "the endpoint is not `https`, so that nothing of this would have an effect",
                )
                .hint("make the endpoint `https://…`, or take the values away");
        }
        trust
    }

    /// The bytes of the file that `node` names; nothing where the value is left out or after a fault.
    fn pem(&mut self, node: &Node, path: &Path, sources: &Sources) -> Option<Vec<u8>> {
        let name = self.text(node, path, Literals::Allowed)?;
        let name = name.expose_secret();
        match sources.read_beside(name) {
            Ok(bytes) => Some(bytes),
            Err(error) => {
                let hint = match error {
                    _ if name.contains("-----BEGIN") => "it is the path of a file, not what stands in it",
                    ReadError::Missing => {
                        "a relative path starts at the folder of routes.yaml, for the shipped routes at the working folder"
                    }
                    ReadError::Escapes | ReadError::Io(_) | ReadError::NotUtf8 | ReadError::TooLarge => "may this user read it?",
                };
                self.faults.fault(node.span, path, format!("the file it names: {error}")).hint(hint);
                None
            }
        }
    }

    fn unusable(&mut self, node: &Node, path: &Path, error: PemError) {
        let message = match error {
            PemError::Key => error.to_string(),
            _ => format!("the file it names: {error}"),
        };
        let fault = self.faults.fault(node.span, path, message);
        match error {
            PemError::Broken | PemError::Certificate | PemError::NoCertificate => {
                fault.hint("certificates as PEM: `-----BEGIN CERTIFICATE-----` …");
            }
            PemError::NoKey | PemError::KeyKind => {
                fault.hint("an RSA or EC key as PEM: `-----BEGIN PRIVATE KEY-----` …");
            }
            PemError::Key => {}
        }
    }

    fn pins(&mut self, node: &Node, path: &Path) -> Vec<Pin> {
        let Some(text) = self.text(node, path, Literals::Allowed) else {
            return Vec::new();
        };
        let pins: Option<Vec<Pin>> = text
            .expose_secret()
            .split([',', ' ', '\n', '\t'])
            .filter(|part| !part.is_empty())
            .map(Pin::parse)
            .collect();
        match pins {
            Some(pins) if !pins.is_empty() => pins,
            _ => {
                self.faults.fault(node.span, path, "this is no SHA-256 of a key").hint(
                    "64 hex digits or base64: `openssl x509 -in cert.pem -pubkey -noout | openssl pkey -pubin -outform der | openssl dgst -sha256`",
                );
                Vec::new()
            }
        }
    }

    fn server_name(&mut self, node: &Node, path: &Path) -> Option<ServerName<'static>> {
        let text = self.text(node, path, Literals::Allowed)?;
        let name = ServerName::try_from(text.expose_secret().to_owned()).ok();
        if name.is_none() {
            self.faults
                .fault(node.span, path, "this is no host name")
                .hint("as it stands in the certificate, without scheme and port: `appliance.example`");
        }
        name
    }

    fn identity(&mut self, client: &ClientCert, sources: &Sources, trust: &mut Trust) {
        let path = &client.place.path;
        let before = (self.faults.len(), self.missing.len());
        let chain = self.pem(&client.cert_file, &path.key("cert_file"), sources);
        let key = self.pem(&client.key_file, &path.key("key_file"), sources);
        match (chain, key) {
            (Some(chain), Some(key)) => {
                self.environment.note_public(&chain);
                self.pair(client, (&chain, &key), trust);
            }
            // Both left out is as good as no block at all; one of them is a half.
            (None, None) => {}
            _ if before != (self.faults.len(), self.missing.len()) => {}
            (Some(_), None) => {
                self.faults
                    .fault(client.place.span, &path.key("key_file"), "a certificate without its key");
            }
            (None, Some(_)) => {
                self.faults
                    .fault(client.place.span, &path.key("cert_file"), "a key without its certificate");
            }
        }
    }

    fn pair(&mut self, client: &ClientCert, (chain, key): (&[u8], &[u8]), trust: &mut Trust) {
        let path = &client.place.path;
        match trust::identity(chain, key) {
            Ok(identity) => trust.client = Some(identity),
            Err(error @ (PemError::Key | PemError::KeyKind | PemError::NoKey)) => {
                self.unusable(&client.key_file, &path.key("key_file"), error);
            }
            Err(error) => self.unusable(&client.cert_file, &path.key("cert_file"), error),
        }
    }
}
