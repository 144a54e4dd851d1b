//! Whom a provider's https trusts, and how taskgate shows who it is: PEM texts and hashes in, settings of a connection out.
//!
//! **Shape**: `ca_file`, `pin_sha256`, `server_name`, `client_cert` -> [`Trust`] -> `rustls::ClientConfig`.
//!
//! **Invariants**: there is no way to switch verification off. What is not said is as the public web has it: a public authority
//! vouches for the endpoint's name. A pin stands for the chain, the name and the dates, as an appliance that signs its own
//! certificate has none that mean anything; the handshake still proves that the peer holds the pinned key. With authorities
//! *and* pins both must hold. Nothing here reads files.

use std::fmt;
use std::sync::{Arc, LazyLock};

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_STANDARD_NO_PAD};
use rustls::client::danger::ServerCertVerifier;
use rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
pub use rustls::pki_types::ServerName;
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};

pub use self::verify::{Refusal, Refused};

mod verify;

/// Whom a provider's https trusts. The default is what browsers do with the public authorities.
#[derive(Clone, Default)]
pub struct Trust {
    /// The authorities that are trusted instead of the public ones.
    pub authorities: Option<Arc<RootCertStore>>,
    /// The keys that are trusted. Without `authorities` one of them is all that is asked for.
    pub pins: Vec<Pin>,
    /// The name that is asked for, and that the certificate must have, instead of the endpoint's host.
    pub server_name: Option<ServerName<'static>>,
    /// The certificate and key that taskgate shows where it is asked.
    pub client: Option<Arc<CertifiedKey>>,
}

impl Trust {
    /// Is nothing said that differs from the public web?
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.authorities.is_none() && self.pins.is_empty() && self.server_name.is_none() && self.client.is_none()
    }

    /// TLS 1.2 and 1.3 under this trust.
    ///
    /// # Errors
    ///
    /// When the provider of cryptography offers none of the wanted protocol versions, or `authorities` is empty.
    pub fn client_config(&self) -> Result<ClientConfig, rustls::Error> {
        let algorithms = PROVIDER.signature_verification_algorithms;
        let chain = match (&self.authorities, self.pins.is_empty()) {
            (None, false) => None,
            (Some(authorities), _) => Some(chain_to(Arc::clone(authorities))),
            (None, true) => Some(PUBLIC.clone()),
        };
        let chain = chain.transpose().map_err(|error| rustls::Error::General(error.to_string()))?;
        let verifier: Arc<dyn ServerCertVerifier> = Arc::new(verify::Verifier::new(chain, self.pins.clone(), algorithms));
        let builder = ClientConfig::builder_with_provider(Arc::clone(&PROVIDER))
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        let mut config = match &self.client {
            Some(client) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(CertifiedKey::clone(client)))),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::in_memory_sessions(SESSIONS);
        Ok(config)
    }
}

/// Who follows chains of certificates to these roots.
fn chain_to(roots: Arc<RootCertStore>) -> Result<Arc<WebPkiServerVerifier>, VerifierBuilderError> {
    WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&PROVIDER)).build()
}

/// The cryptography of all connections; named, so that nothing depends on a process-wide default.
static PROVIDER: LazyLock<Arc<CryptoProvider>> = LazyLock::new(|| Arc::new(aws_lc_rs::default_provider()));

/// Who follows chains to the public authorities: one for all providers, as the roots are many and the same.
static PUBLIC: LazyLock<Result<Arc<WebPkiServerVerifier>, VerifierBuilderError>> = LazyLock::new(|| {
    let roots = RootCertStore::from_iter(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    chain_to(Arc::new(roots))
});

/// What rustls keeps for one name at the most. A provider has one, and room for others is taken whether they come or not.
const SESSIONS: usize = 8;

/// A key is the same where the certificate is: the one fits the other.
impl PartialEq for Trust {
    fn eq(&self, other: &Self) -> bool {
        let roots = |trust: &Self| trust.authorities.as_ref().map(|roots| roots.roots.clone());
        let chain = |trust: &Self| trust.client.as_ref().map(|client| client.cert.clone());
        (&self.pins, &self.server_name, roots(self), chain(self)) == (&other.pins, &other.server_name, roots(other), chain(other))
    }
}

impl fmt::Debug for Trust {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trust")
            .field("authorities", &self.authorities.as_ref().map(|roots| roots.len()))
            .field("pins", &self.pins)
            .field("server_name", &self.server_name)
            .field("client", &self.client.as_ref().map(|_| "Sensitive"))
            .finish()
    }
}

/// Why a PEM text cannot be used. Repeats nothing of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PemError {
    /// It is no PEM, or what stands between its lines is broken.
    #[error("it is not valid PEM")]
    Broken,
    /// One of its certificates is none.
    #[error("it has a certificate that cannot be read")]
    Certificate,
    /// The key is another certificate's.
    #[error("the key does not fit the certificate")]
    Key,
    /// The key is of a kind that is not known, or is broken.
    #[error("the key cannot be used")]
    KeyKind,
    /// There is none.
    #[error("there is no certificate in it")]
    NoCertificate,
    /// There is none, or it is locked with a password.
    #[error("there is no private key in it, or it is locked with a password")]
    NoKey,
}

/// The certificates of a PEM text as authorities.
///
/// # Errors
///
/// [`PemError`]
pub fn authorities(text: &[u8]) -> Result<Arc<RootCertStore>, PemError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(text)? {
        roots.add(certificate).map_err(|_| PemError::Certificate)?;
    }
    Ok(Arc::new(roots))
}

/// A certificate, what leads from it to an authority, and its key.
///
/// # Errors
///
/// [`PemError`]
pub fn identity(chain: &[u8], key: &[u8]) -> Result<Arc<CertifiedKey>, PemError> {
    let chain = certificates(chain)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| match error {
        pem::Error::NoItemsFound => PemError::NoKey,
        _ => PemError::Broken,
    })?;
    match CertifiedKey::from_der(chain, key, &PROVIDER) {
        Ok(identity) => Ok(Arc::new(identity)),
        Err(rustls::Error::InconsistentKeys(_)) => Err(PemError::Key),
        Err(rustls::Error::InvalidCertificate(_)) => Err(PemError::Certificate),
        Err(_) => Err(PemError::KeyKind),
    }
}

fn certificates(text: &[u8]) -> Result<Vec<CertificateDer<'static>>, PemError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text)
        .collect::<Result<_, _>>()
        .map_err(|_| PemError::Broken)?;
    if certificates.is_empty() {
        return Err(PemError::NoCertificate);
    }
    Ok(certificates)
}

/// The SHA-256 of a certificate's SubjectPublicKeyInfo: stays the same when the certificate is renewed for the same key.
///
/// Source: RFC 7469 section 2.4.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Pin([u8; 32]);

impl Pin {
    /// Reads a pin as `openssl dgst` or `curl --pinnedpubkey` write it: 64 hex digits, with or without colons, or base64, with or
    /// without `sha256//` before it.
    ///
    /// ```
    /// use taskgate::trust::Pin;
    ///
    /// let hex = "a1".repeat(32);
    /// let pin = Pin::parse(&hex).expect("64 digits");
    /// assert_eq!(pin.to_string(), hex);
    /// assert_eq!(Pin::parse("oaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaGhoaE="), Some(pin));
    /// assert_eq!(Pin::parse("a1a1"), None);
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let digits: String = text.chars().filter(|c| *c != ':').collect();
        if digits.len() == 64 && digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            let mut bytes = [0; 32];
            for (at, byte) in bytes.iter_mut().enumerate() {
                *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
            }
            return Some(Self(bytes));
        }
        let base64 = text
            .strip_prefix("sha256//")
            .or_else(|| text.strip_prefix("sha256/"))
            .unwrap_or(text);
        let bytes = BASE64_STANDARD
            .decode(base64)
            .or_else(|_| BASE64_STANDARD_NO_PAD.decode(base64))
            .ok()?;
        bytes.try_into().ok().map(Self)
    }

    /// The pin of a certificate; nothing where it is so broken that its key cannot be found.
    #[must_use]
    pub fn of_certificate(certificate: &CertificateDer<'_>) -> Option<Self> {
        Some(Self::of_key(verify::public_key(certificate)?))
    }

    fn of_key(public_key: &[u8]) -> Self {
        let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, public_key);
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pin({self})")
    }
}
