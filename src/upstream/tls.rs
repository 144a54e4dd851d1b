//! What a failed handshake means, in words that help; and the settings of a connection for callers that make their own.
//!
//! **Invariants**: there is no way to switch verification off ([`Trust`]).

use std::error::Error;
use std::io;
use std::sync::Arc;

use rustls::{AlertDescription, CertificateError, ClientConfig, RootCertStore};

use crate::trust::{Refusal, Refused, Trust};

/// TLS 1.2 and 1.3 with certificates that a public authority vouches for.
///
/// # Errors
///
/// When the provider of cryptography offers none of the wanted protocol versions.
pub fn public_roots() -> Result<ClientConfig, rustls::Error> {
    Trust::default().client_config()
}

/// TLS 1.2 and 1.3 with certificates that one of `roots` vouches for.
///
/// # Errors
///
/// As [`public_roots`], and when `roots` is empty.
pub fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    let authorities = Some(Arc::new(roots));
    Trust {
        authorities,
        ..Trust::default()
    }
    .client_config()
}

/// What went wrong in a handshake, as far as the caller may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFault {
    /// The certificate is one of an authority, shown as a server's.
    AuthorityAsServer,
    /// The certificate is past its end.
    Expired,
    /// Anything else: the peer speaks no TLS, or hung up.
    Handshake,
    /// No version or cipher in common.
    Incompatible,
    /// The certificate is broken, revoked or not made for servers.
    InvalidCertificate,
    /// The certificate names no host where names are looked for.
    NoName,
    /// The certificate is before its start.
    NotYetValid,
    /// The certificate is of X.509 version 1 or 2.
    OldCertificate,
    /// The vendor does not take the certificate that taskgate shows, or wants one.
    OwnCertificate,
    /// The certificate has another key than those that are pinned.
    Pin,
    /// Nobody that taskgate trusts vouches for the certificate.
    UnknownIssuer,
    /// The vendor has no certificate for the name that is asked for.
    UnknownName,
    /// The certificate is signed in a way that is no longer trusted.
    WeakSignature,
    /// The certificate is made out to another name.
    WrongName,
}

impl TlsFault {
    /// The fault behind an error of the TLS step, or of the first answer where a peer refuses late (TLS 1.3).
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        match find_rustls(error) {
            None => Self::Handshake,
            Some(rustls::Error::InvalidCertificate(certificate)) => match refusal(certificate) {
                Some(Refused::Pin) => Self::Pin,
                Some(Refused::Chain(certificate)) => Self::of_certificate(certificate),
                None => Self::of_certificate(certificate),
            },
            Some(error) => Self::of_rustls(error),
        }
    }

    /// The word in `metadata`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::AuthorityAsServer => "authority_as_server",
            Self::Expired => "certificate_expired",
            Self::Handshake => "handshake_failed",
            Self::Incompatible => "nothing_in_common",
            Self::InvalidCertificate => "certificate_invalid",
            Self::NoName => "no_name",
            Self::NotYetValid => "certificate_not_yet_valid",
            Self::OldCertificate => "old_certificate",
            Self::OwnCertificate => "client_certificate",
            Self::Pin => "wrong_pin",
            Self::UnknownIssuer => "unknown_issuer",
            Self::UnknownName => "unknown_name",
            Self::WeakSignature => "weak_signature",
            Self::WrongName => "wrong_name",
        }
    }

    /// The sentence for the caller: what is wrong, and the setting that helps.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::AuthorityAsServer => {
                "the vendor shows the certificate of an authority as its own: `tls.pin_sha256` of the provider can trust its key"
            }
            Self::Expired => {
                "the vendor's certificate has expired: it has to be renewed, or its key trusted with `tls.pin_sha256` of the provider"
            }
            Self::Handshake => "the TLS handshake with the vendor failed: does the port of the endpoint speak TLS?",
            Self::Incompatible => {
                "the vendor and taskgate have no version or cipher of TLS in common: it takes TLS 1.3, or 1.2 with forward secrecy"
            }
            Self::InvalidCertificate => {
                "the vendor's certificate is not valid for a server: `tls.pin_sha256` of the provider can trust its key"
            }
            Self::NoName => {
                "the vendor's certificate names no host (a common name is not looked at): `tls.pin_sha256` of the provider can trust its key"
            }
            Self::NotYetValid => "the vendor's certificate is not valid yet: is one of the two clocks wrong?",
            Self::OldCertificate => {
                "the vendor's certificate is of an old version of X.509: `tls.pin_sha256` of the provider can trust its key"
            }
            Self::OwnCertificate => {
                "the vendor asks for a certificate of taskgate or does not take the one it was shown: see `tls.client_cert` of the provider"
            }
            Self::Pin => "the vendor's certificate has none of the keys that are trusted: see `tls.pin_sha256` of the provider and the log",
            Self::UnknownIssuer => {
                "the vendor's certificate is issued by an authority that is not trusted: name it with `tls.ca_file` of the provider, \
                 or trust the key with `tls.pin_sha256`"
            }
            Self::UnknownName => "the vendor has no certificate for the name it was asked for: see `tls.server_name` of the provider",
            Self::WeakSignature => {
                "the vendor's certificate is signed in a way that is no longer trusted: `tls.pin_sha256` of the provider can trust its key"
            }
            Self::WrongName => "the vendor's certificate is made out to another name: name it with `tls.server_name` of the provider",
        }
    }

    fn of_rustls(error: &rustls::Error) -> Self {
        use AlertDescription as Alert;
        match error {
            // What a server says about the certificate of its client; RFC 8446 section 6.2.
            rustls::Error::AlertReceived(
                Alert::BadCertificate
                | Alert::CertificateExpired
                | Alert::CertificateRequired
                | Alert::CertificateRevoked
                | Alert::CertificateUnknown
                | Alert::UnknownCA
                | Alert::UnsupportedCertificate,
            ) => Self::OwnCertificate,
            rustls::Error::AlertReceived(Alert::UnrecognisedName) => Self::UnknownName,
            rustls::Error::AlertReceived(Alert::InsufficientSecurity | Alert::ProtocolVersion) | rustls::Error::PeerIncompatible(_) => {
                Self::Incompatible
            }
            _ => Self::Handshake,
        }
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::NotValidForNameContext { presented, .. } if presented.is_empty() => Self::NoName,
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
            CertificateError::UnknownIssuer => Self::UnknownIssuer,
            CertificateError::UnsupportedSignatureAlgorithmContext { .. }
            | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => Self::WeakSignature,
            CertificateError::Other(other) => match other.0.downcast_ref::<webpki::Error>() {
                Some(webpki::Error::CaUsedAsEndEntity) => Self::AuthorityAsServer,
                Some(webpki::Error::UnsupportedCertVersion) => Self::OldCertificate,
                _ => Self::InvalidCertificate,
            },
            _ => Self::InvalidCertificate,
        }
    }
}

/// What the verifier said.
fn refusal(error: &CertificateError) -> Option<&Refused> {
    match error {
        CertificateError::Other(other) => other.0.downcast_ref::<Refusal>().map(|refusal| &refusal.why),
        _ => None,
    }
}

/// `io::Error` hides what it wraps from `source`, so the chain is walked by hand.
fn find_rustls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next: Option<&'a (dyn Error + 'static)> = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(error: rustls::Error, expected: TlsFault) {
        let text = error.to_string();
        // As it arrives: wrapped twice by libraries that hide what is inside.
        let wrapped = io::Error::other(io::Error::new(io::ErrorKind::InvalidData, error));
        assert_eq!(TlsFault::of(&wrapped), expected, "{text}");
    }

    #[test]
    fn each_fault_has_its_word() {
        let invalid = rustls::Error::InvalidCertificate;
        check(invalid(CertificateError::Expired), TlsFault::Expired);
        check(invalid(CertificateError::NotValidYet), TlsFault::NotYetValid);
        check(invalid(CertificateError::NotValidForName), TlsFault::WrongName);
        check(invalid(CertificateError::UnknownIssuer), TlsFault::UnknownIssuer);
        check(invalid(CertificateError::Revoked), TlsFault::InvalidCertificate);
        check(invalid(CertificateError::BadSignature), TlsFault::InvalidCertificate);
        check(rustls::Error::HandshakeNotComplete, TlsFault::Handshake);
        check(
            rustls::Error::AlertReceived(AlertDescription::ProtocolVersion),
            TlsFault::Incompatible,
        );
        check(
            rustls::Error::AlertReceived(AlertDescription::CertificateRequired),
            TlsFault::OwnCertificate,
        );
        check(
            rustls::Error::AlertReceived(AlertDescription::UnrecognisedName),
            TlsFault::UnknownName,
        );
        let silent = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert_eq!(TlsFault::of(&silent), TlsFault::Handshake);
    }

    #[test]
    fn the_public_authorities_are_there() {
        assert!(public_roots().is_ok());
    }
}
