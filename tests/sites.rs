//! Certificates as appliances show them: what is trusted under which setting, and what the refusal says.
#![expect(clippy::unwrap_used, reason = "tests say what must hold")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use http::header::HeaderMap;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, SupportedProtocolVersion};
use taskgate::config::compile::compile;
use taskgate::config::environment::Environment;
use taskgate::config::sources::Sources;
use taskgate::model::answer::Outcome;
use taskgate::model::call::UpstreamRequest;
use taskgate::model::error::GatewayError;
use taskgate::model::reason::Reason;
use taskgate::route::{Connection, Limits};
use taskgate::upstream::client::UpstreamClient;
use tokio::time::Instant;

/// Of the key of all servers here.
const PIN: &str = include_str!("tls/site/server.pin");
const OTHER_PIN: &str = "a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1";

const ROUTES: &str = r#"
version: 1
providers:
  acme:
    title: Acme
    endpoint: ${env.ENDPOINT}
    tls:
      ca_file: ${?env.CA_FILE}
      pin_sha256: ["${?env.PIN}", "${?env.OTHER_PIN}"]
      server_name: ${?env.SERVER_NAME}
      client_cert: { cert_file: "${?env.CERT_FILE}", key_file: "${?env.KEY_FILE}" }
    id: { type: integer }
    actions:
      stop:
        title: Stop
        schema: request.json
        request: { method: POST, path: "/${id}" }
        reply: { body: empty, outcome: [{ status: 200, is: done, state: stopped }] }
"#;

fn sources() -> Sources {
    let empty = r#"{ "type": "object", "additionalProperties": false, "properties": {} }"#;
    Sources::memory([
        ("routes.yaml", ROUTES),
        ("request.json", empty),
        ("site.pem", include_str!("tls/site/authority.pem")),
        ("self_signed.pem", include_str!("tls/site/self_signed.pem")),
        ("self_signed_authority.pem", include_str!("tls/site/self_signed_authority.pem")),
        ("client.pem", include_str!("tls/site/client.pem")),
        ("client.key", include_str!("tls/site/client.key")),
        ("server.key", include_str!("tls/server.key")),
        ("garbage.pem", "-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n"),
        ("empty.pem", "nothing here\n"),
    ])
}

/// The connection that these variables make, or the faults.
fn connection(variables: &[(&str, &str)]) -> Result<Connection, String> {
    let environment: Environment = variables.iter().copied().collect();
    match compile(&sources(), "routes.yaml", &environment) {
        Ok(compiled) => Ok(compiled.table.providers["acme"].connection.clone().unwrap()),
        Err(rejected) => Err(rejected.faults.render(&rejected.files)),
    }
}

/// What a server shows and asks for.
struct Server {
    certificate: &'static [u8],
    asks: bool,
    versions: &'static [&'static SupportedProtocolVersion],
}

fn shows(certificate: &'static [u8]) -> Server {
    Server {
        certificate,
        asks: false,
        versions: rustls::DEFAULT_VERSIONS,
    }
}

impl Server {
    /// Serves one connection and answers one request on it; the thread ends with what it read.
    fn start(&self) -> (SocketAddr, JoinHandle<String>) {
        let key = PrivateKeyDer::from_pem_slice(include_bytes!("tls/server.key")).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(self.certificate).unwrap()];
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .unwrap();
        let builder = if self.asks {
            let mut roots = RootCertStore::empty();
            roots
                .add(CertificateDer::from_pem_slice(include_bytes!("tls/site/authority.pem")).unwrap())
                .unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .unwrap();
            builder.with_client_cert_verifier(verifier)
        } else {
            builder.with_no_client_auth()
        };
        // Not `with_single_cert`: it would refuse to show a certificate of version 1.
        let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
        let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
        let config = Arc::new(builder.with_cert_resolver(Arc::new(resolver)));
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = rustls::StreamOwned::new(ServerConnection::new(config).unwrap(), socket);
            let mut text = Vec::new();
            let mut part = [0; 1024];
            while !text.ends_with(b"\r\n\r\n") {
                match stream.read(&mut part) {
                    Ok(read) if read > 0 => text.extend_from_slice(&part[..read]),
                    _ => {
                        // The alert has to arrive: a socket that closes with unread bytes resets the connection.
                        while stream.sock.read(&mut part).is_ok_and(|read| read > 0) {}
                        return String::from_utf8(text).unwrap();
                    }
                }
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
            String::from_utf8(text).unwrap()
        });
        (address, thread)
    }
}

/// One call to a server under these variables: the answer's status or the error, and what the server read.
async fn call(server: Server, variables: &[(&str, &str)]) -> (Result<u16, GatewayError>, String) {
    let (address, thread) = server.start();
    let endpoint = format!("https://localhost:{}", address.port());
    let mut variables = variables.to_vec();
    variables.push(("ENDPOINT", &endpoint));
    let client = UpstreamClient::new(&connection(&variables).unwrap(), &Limits::default(), "gate-1").unwrap();
    let request = UpstreamRequest {
        method: Method::POST,
        target: "/1".to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let result = client.send(request, Instant::now() + Duration::from_secs(20)).await;
    drop(client);
    (result.map(|exchange| exchange.reply.status.as_u16()), thread.join().unwrap())
}

async fn is_trusted(what: &str, server: Server, variables: &[(&str, &str)]) {
    let (result, read) = call(server, variables).await;
    assert_eq!(result.expect(what), 200, "{what}");
    assert!(read.starts_with("POST /1 HTTP/1.1\r\n"), "{what}: {read}");
}

/// Returns what only the log knows.
async fn is_refused(what: &str, server: Server, variables: &[(&str, &str)], word: &str, setting: &str) -> String {
    let (result, read) = call(server, variables).await;
    let error = result.expect_err(what);
    assert_eq!(
        (error.reason, error.reason.facts().outcome, &error.metadata["tls"]),
        (Reason::VendorTlsFailed, Outcome::NotDone, &serde_json::json!(word)),
        "{what}: {error:?}"
    );
    assert!(error.detail.contains(setting), "{what}: {}", error.detail);
    assert!(
        !error.detail.contains("localhost") && !error.detail.contains(PIN.trim()),
        "{}",
        error.detail
    );
    assert_eq!(read, "", "{what}: the vendor read something");
    error.internal.unwrap()
}

const TLS12: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
const SELF_SIGNED: &[u8] = include_bytes!("tls/site/self_signed.pem");
const SELF_SIGNED_AUTHORITY: &[u8] = include_bytes!("tls/site/self_signed_authority.pem");
const VERSION_1: &[u8] = include_bytes!("tls/site/version_1.pem");
const CN_ONLY: &[u8] = include_bytes!("tls/site/cn_only.pem");
const APPLIANCE: &[u8] = include_bytes!("tls/site/appliance.pem");
const NOT_YET: &[u8] = include_bytes!("tls/site/not_yet.pem");
const EXPIRED: &[u8] = include_bytes!("tls/expired.pem");

#[tokio::test]
async fn a_pin_is_all_that_an_appliance_needs() {
    for (what, certificate) in [
        ("self-signed", SELF_SIGNED),
        ("self-signed authority", SELF_SIGNED_AUTHORITY),
        ("version 1", VERSION_1),
        ("common name only", CN_ONLY),
        ("another name", APPLIANCE),
        ("expired", EXPIRED),
    ] {
        is_trusted(what, shows(certificate), &[("PIN", PIN)]).await;
        let old = Server {
            versions: TLS12,
            ..shows(certificate)
        };
        is_trusted(&format!("{what}, TLS 1.2"), old, &[("PIN", PIN)]).await;
    }
    // One of several, in one value or two.
    let both = format!("{OTHER_PIN}, {PIN}");
    is_trusted("a list", shows(SELF_SIGNED), &[("PIN", &both)]).await;
    is_trusted("the second", shows(SELF_SIGNED), &[("PIN", OTHER_PIN), ("OTHER_PIN", PIN)]).await;
}

#[tokio::test]
async fn another_key_than_the_pinned_one() {
    let internal = is_refused(
        "wrong pin",
        shows(SELF_SIGNED),
        &[("PIN", OTHER_PIN)],
        "wrong_pin",
        "tls.pin_sha256",
    )
    .await;
    assert!(internal.contains(PIN.trim()), "the log has the pin to copy: {internal}");
    // A certificate is public: who shows it has to hold its key as well.
    let key = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tls/site/client.key")).unwrap();
    let (address, thread) = impostor(&key);
    let endpoint = format!("https://localhost:{}", address.port());
    let connection = connection(&[("ENDPOINT", &endpoint), ("PIN", PIN)]).unwrap();
    let client = UpstreamClient::new(&connection, &Limits::default(), "gate-1").unwrap();
    let request = UpstreamRequest {
        method: Method::POST,
        target: "/1".to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
    };
    let error = client.send(request, Instant::now() + Duration::from_secs(20)).await.unwrap_err();
    assert_eq!(error.reason, Reason::VendorTlsFailed, "{error:?}");
    drop(client);
    assert!(!thread.join().unwrap());
}

/// Shows the pinned certificate and signs with another key; says whether it got to read anything.
fn impostor(key: &str) -> (SocketAddr, JoinHandle<bool>) {
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(SELF_SIGNED).unwrap()];
    let key = rustls::crypto::aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let resolver = rustls::sign::SingleCertAndKey::from(rustls::sign::CertifiedKey::new(chain, key));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(resolver));
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let thread = std::thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = rustls::StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
        stream.read(&mut [0; 16]).is_ok_and(|read| read > 0)
    });
    (address, thread)
}

#[tokio::test]
async fn an_authority_of_ones_own() {
    let site = ("CA_FILE", "site.pem");
    is_trusted("its name", shows(APPLIANCE), &[site, ("SERVER_NAME", "appliance.example")]).await;
    is_trusted(
        "both hold",
        shows(APPLIANCE),
        &[site, ("SERVER_NAME", "appliance.example"), ("PIN", PIN)],
    )
    .await;
    is_trusted(
        "a certificate vouches for itself",
        shows(SELF_SIGNED),
        &[("CA_FILE", "self_signed.pem")],
    )
    .await;

    let log = is_refused("the endpoint's name", shows(APPLIANCE), &[site], "wrong_name", "tls.server_name").await;
    assert!(log.contains("appliance.example") && log.contains(PIN.trim()), "{log}");
    is_refused("common name only", shows(CN_ONLY), &[site], "no_name", "tls.pin_sha256").await;
    is_refused("not yet", shows(NOT_YET), &[site], "certificate_not_yet_valid", "clock").await;
    is_refused("nobody's", shows(SELF_SIGNED), &[site], "unknown_issuer", "tls.ca_file").await;
    is_refused(
        "an authority as a server",
        shows(SELF_SIGNED_AUTHORITY),
        &[("CA_FILE", "self_signed_authority.pem")],
        "authority_as_server",
        "tls.pin_sha256",
    )
    .await;
    is_refused(
        "a pin besides does not hold",
        shows(APPLIANCE),
        &[site, ("SERVER_NAME", "appliance.example"), ("PIN", OTHER_PIN)],
        "wrong_pin",
        "tls.pin_sha256",
    )
    .await;
    is_refused(
        "chain besides a pin does not hold",
        shows(SELF_SIGNED),
        &[site, ("PIN", PIN)],
        "unknown_issuer",
        "tls.ca_file",
    )
    .await;
}

#[tokio::test]
async fn the_public_authorities_by_default() {
    let log = is_refused("self-signed", shows(SELF_SIGNED), &[], "unknown_issuer", "tls.ca_file").await;
    assert!(log.contains(PIN.trim()), "{log}");
    is_refused("version 1", shows(VERSION_1), &[], "old_certificate", "tls.pin_sha256").await;
    is_refused(
        "an authority",
        shows(SELF_SIGNED_AUTHORITY),
        &[],
        "authority_as_server",
        "tls.pin_sha256",
    )
    .await;
}

#[tokio::test]
async fn a_vendor_that_asks_who_calls() {
    let asking = |versions| Server {
        asks: true,
        versions,
        ..shows(SELF_SIGNED)
    };
    for versions in [rustls::DEFAULT_VERSIONS, TLS12] {
        let shown = [("PIN", PIN), ("CERT_FILE", "client.pem"), ("KEY_FILE", "client.key")];
        is_trusted("shown", asking(versions), &shown).await;
    }
    // TLS 1.3: the vendor refuses after the request was written and before it reads any of it.
    is_refused(
        "not shown",
        asking(rustls::DEFAULT_VERSIONS),
        &[("PIN", PIN)],
        "client_certificate",
        "tls.client_cert",
    )
    .await;
}

#[track_caller]
fn faults(variables: &[(&str, &str)], expected: &[&str]) {
    let found = connection(variables).unwrap_err();
    let found: Vec<&str> = found
        .lines()
        .map(str::trim_start)
        .filter_map(|line| line.strip_prefix("error: routes.yaml:"))
        .map(|line| line.split_once(": ").unwrap().1)
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_wrong_with_the_settings_is_said_before_anything_runs() {
    let https = ("ENDPOINT", "https://h");
    let ca = |name| [https, ("CA_FILE", name)];
    faults(
        &ca("missing.pem"),
        &["providers.acme.tls.ca_file: the file it names: there is no such file"],
    );
    faults(
        &ca("empty.pem"),
        &["providers.acme.tls.ca_file: the file it names: there is no certificate in it"],
    );
    faults(
        &ca("garbage.pem"),
        &["providers.acme.tls.ca_file: the file it names: it is not valid PEM"],
    );
    faults(
        &ca("client.key"),
        &["providers.acme.tls.ca_file: the file it names: there is no certificate in it"],
    );
    faults(
        &[https, ("PIN", "a1a1"), ("SERVER_NAME", "https://h")],
        &[
            "providers.acme.tls.pin_sha256: this is no SHA-256 of a key",
            "providers.acme.tls.server_name: this is no host name",
        ],
    );
    faults(
        &[https, ("CERT_FILE", "client.pem"), ("KEY_FILE", "server.key")],
        &["providers.acme.tls.client_cert.key_file: the key does not fit the certificate"],
    );
    faults(
        &[https, ("CERT_FILE", "client.pem"), ("KEY_FILE", "client.pem")],
        &["providers.acme.tls.client_cert.key_file: the file it names: there is no private key in it, or it is locked with a password"],
    );
    faults(
        &[https, ("CERT_FILE", "client.pem")],
        &["providers.acme.tls.client_cert.key_file: a certificate without its key"],
    );
    faults(
        &[https, ("KEY_FILE", "client.key")],
        &["providers.acme.tls.client_cert.cert_file: a key without its certificate"],
    );
    faults(
        &[("ENDPOINT", "http://h"), ("PIN", PIN)],
        &["providers.acme.tls: the endpoint is not `https`, so that nothing of this would have an effect"],
    );
}

#[test]
fn values_that_are_left_out_change_nothing() {
    assert!(connection(&[("ENDPOINT", "https://h")]).unwrap().trust.is_default());
    assert!(connection(&[("ENDPOINT", "http://h")]).unwrap().trust.is_default());
}

#[test]
fn a_key_where_its_path_belongs_is_not_repeated() {
    let key = include_str!("tls/site/client.key");
    let text = connection(&[("ENDPOINT", "https://h"), ("CERT_FILE", "client.pem"), ("KEY_FILE", key)]).unwrap_err();
    let secret = key.lines().nth(1).unwrap();
    assert!(text.contains("not what stands in it") && !text.contains(secret), "{text}");
    let shown = connection(&[("ENDPOINT", "https://h"), ("CERT_FILE", "client.pem"), ("KEY_FILE", "client.key")]).unwrap();
    assert!(format!("{shown:?}").contains("client: Some(\"Sensitive\")"), "{shown:?}");
}
