//! The only place that knows rustls: whom taskgate trusts, and what a failed handshake means.
//!
//! **Invariants**: there is no way to switch verification off.

use std::error::Error;
use std::io;
use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt as _;
use rustls::crypto::aws_lc_rs;
use rustls::{CertificateError, ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

/// TLS 1.2 and 1.3 with certificates that a public authority vouches for.
///
/// # Errors
///
/// When the provider of cryptography offers none of the wanted protocol versions.
pub fn public_roots() -> Result<ClientConfig, rustls::Error> {
    Ok(builder()?.with_webpki_roots().with_no_client_auth())
}

/// TLS 1.2 and 1.3 with certificates that one of `roots` vouches for.
///
/// # Errors
///
/// As [`public_roots`].
pub fn trusting(roots: RootCertStore) -> Result<ClientConfig, rustls::Error> {
    Ok(builder()?.with_root_certificates(roots).with_no_client_auth())
}

/// The provider of cryptography is named, so that nothing depends on a process-wide default.
fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, rustls::Error> {
    ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider())).with_safe_default_protocol_versions()
}

/// What went wrong in a handshake, as far as the caller may know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TlsFault {
    /// The certificate is past its end or before its start.
    Expired,
    /// Anything else: the peer speaks no TLS, an old version, or hung up.
    Handshake,
    /// The certificate is broken, revoked or not made for servers.
    InvalidCertificate,
    /// Nobody that taskgate trusts vouches for the certificate.
    UnknownIssuer,
    /// The certificate is made out to another name.
    WrongName,
}

impl TlsFault {
    /// The fault behind an error of the TLS step.
    pub(super) fn of(error: &(dyn Error + 'static)) -> Self {
        find_rustls(error).map_or(Self::Handshake, Self::of_rustls)
    }

    /// The word in `metadata`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "certificate_expired",
            Self::Handshake => "handshake_failed",
            Self::InvalidCertificate => "certificate_invalid",
            Self::UnknownIssuer => "unknown_issuer",
            Self::WrongName => "wrong_name",
        }
    }

    /// The sentence for the caller.
    pub(super) fn detail(self) -> &'static str {
        match self {
            Self::Expired => "the vendor's certificate has expired or is not valid yet",
            Self::Handshake => "the TLS handshake with the vendor failed",
            Self::InvalidCertificate => "the vendor's certificate is not valid",
            Self::UnknownIssuer => "the vendor's certificate is issued by an authority that is not trusted",
            Self::WrongName => "the vendor's certificate is made out to another name",
        }
    }

    fn of_rustls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(certificate) => match certificate {
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. } => Self::Expired,
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => Self::WrongName,
                CertificateError::UnknownIssuer => Self::UnknownIssuer,
                _ => Self::InvalidCertificate,
            },
            _ => Self::Handshake,
        }
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
        check(invalid(CertificateError::NotValidYet), TlsFault::Expired);
        check(invalid(CertificateError::NotValidForName), TlsFault::WrongName);
        check(invalid(CertificateError::UnknownIssuer), TlsFault::UnknownIssuer);
        check(invalid(CertificateError::Revoked), TlsFault::InvalidCertificate);
        check(invalid(CertificateError::BadSignature), TlsFault::InvalidCertificate);
        check(rustls::Error::HandshakeNotComplete, TlsFault::Handshake);
        check(
            rustls::Error::AlertReceived(rustls::AlertDescription::ProtocolVersion),
            TlsFault::Handshake,
        );
        let silent = io::Error::new(io::ErrorKind::UnexpectedEof, "tls handshake eof");
        assert_eq!(TlsFault::of(&silent), TlsFault::Handshake);
    }

    #[test]
    fn the_public_authorities_are_there() {
        assert!(public_roots().is_ok());
    }
}
