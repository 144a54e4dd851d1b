//! Verifies the certificate of a vendor: chain and name, a pinned key, or both; and says which key was shown where it refuses.
//!
//! **Invariants**: the signature of the handshake is verified in every case; without it a pin would prove nothing, as
//! certificates are public. No parser of certificates stands before a pin: appliances show certificates of X.509 version 1 and
//! ones that are authorities, which a parser made for the public web does not read.

use std::fmt;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, Error, OtherError, PeerMisbehaved, SignatureScheme};

use super::Pin;

/// A certificate that was refused, and the pin of its key: for the log, where an operator can compare it with the vendor's and
/// copy it.
#[derive(Clone, thiserror::Error)]
pub struct Refusal {
    /// Why.
    pub why: Refused,
    /// The pin of the key that was shown: what `pin_sha256` would have to be.
    pub pin: Option<Pin>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pin {
            Some(pin) => write!(f, "{}; pin of its key: {pin}", self.why),
            None => write!(f, "{}; its key cannot be read", self.why),
        }
    }
}

/// rustls shows the errors of a verifier of others by `Debug` only.
impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why a certificate was refused.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Refused {
    /// Chain, name, dates or purpose.
    #[error("{0}")]
    Chain(CertificateError),
    /// It is none of the pinned keys.
    #[error("none of the pinned keys")]
    Pin,
}

/// The verifier of one provider.
#[derive(Debug)]
pub(super) struct Verifier {
    chain: Option<Arc<WebPkiServerVerifier>>,
    pins: Vec<Pin>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl Verifier {
    /// A verifier of chain and name, of pins, or of both.
    pub(super) fn new(chain: Option<Arc<WebPkiServerVerifier>>, pins: Vec<Pin>, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { chain, pins, algorithms }
    }
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let pin = Pin::of_certificate(end_entity);
        let refuse = |why| Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(Refusal { why, pin }))));
        match &self.chain {
            Some(chain) => chain
                .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
                .map_err(|error| match error {
                    Error::InvalidCertificate(why) => refuse(Refused::Chain(why)),
                    other => other,
                })?,
            // Nobody to ask for a chain, so a pin has to hold.
            None if self.pins.is_empty() => return Err(refuse(Refused::Chain(CertificateError::UnknownIssuer))),
            None => ServerCertVerified::assertion(),
        };
        if !self.pins.is_empty() && !pin.is_some_and(|pin| self.pins.contains(&pin)) {
            return Err(refuse(Refused::Pin));
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = key_info(certificate)?;
        let key = webpki::RawPublicKeyEntity::try_from(&key).map_err(|_| CertificateError::BadEncoding)?;
        let (_, algorithms) = self
            .algorithms
            .mapping
            .iter()
            .find(|(scheme, _)| *scheme == signed.scheme)
            .ok_or(PeerMisbehaved::SignedHandshakeWithUnadvertisedSigScheme)?;
        // In TLS 1.2 a scheme does not say which curve, so each that it may mean is tried (RFC 8422 section 5.4).
        for algorithm in *algorithms {
            match key.verify_signature(*algorithm, message, signed.signature()) {
                Ok(()) => return Ok(HandshakeSignatureValid::assertion()),
                Err(webpki::Error::UnsupportedSignatureAlgorithmForPublicKeyContext(_)) => {}
                Err(_) => break,
            }
        }
        Err(CertificateError::BadSignature.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature_with_raw_key(message, &key_info(certificate)?, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn key_info<'a>(certificate: &'a CertificateDer<'_>) -> Result<SubjectPublicKeyInfoDer<'a>, Error> {
    let key = public_key(certificate).ok_or(CertificateError::BadEncoding)?;
    Ok(SubjectPublicKeyInfoDer::from(key))
}

/// The SubjectPublicKeyInfo of a certificate of any version, with its own tag and length.
///
/// Source: RFC 5280 section 4.1.
pub(super) fn public_key<'a>(certificate: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    let (certificate, _) = element(certificate.as_ref(), SEQUENCE)?;
    let mut fields = element(certificate.content, SEQUENCE)?.0.content;
    // The version is left out in version 1.
    if let Some((_, rest)) = element(fields, VERSION) {
        fields = rest;
    }
    // Serial number, signature, issuer, validity, subject.
    for tag in [INTEGER, SEQUENCE, SEQUENCE, SEQUENCE, SEQUENCE] {
        fields = element(fields, tag)?.1;
    }
    Some(element(fields, SEQUENCE)?.0.whole)
}

/// One value of DER.
struct Element<'a> {
    whole: &'a [u8],
    content: &'a [u8],
}

/// The value at the start, if it has this tag, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(Element<'_>, &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let (&short, rest) = rest.split_first()?;
    if first != tag {
        return None;
    }
    let (length, rest) = match short {
        0..=0x7f => (usize::from(short), rest),
        // Up to 16 MiB, which is more than a handshake message can hold.
        0x81..=0x83 => {
            let (digits, rest) = rest.split_at_checked(usize::from(short & 0x7f))?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    let whole = bytes.get(..bytes.len() - rest.len())?;
    Some((Element { whole, content }, rest))
}

const INTEGER: u8 = 0x02;
const SEQUENCE: u8 = 0x30;
/// Context-specific, constructed, number 0.
const VERSION: u8 = 0xa0;

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::pki_types::pem::PemObject as _;

    const PIN: &str = include_str!("../../tests/tls/site/server.pin");

    fn certificate(text: &str) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(text.as_bytes()).unwrap()
    }

    #[test]
    fn the_key_of_a_certificate_of_any_version() {
        for text in [
            include_str!("../../tests/tls/valid.pem"),
            include_str!("../../tests/tls/site/self_signed_authority.pem"),
            include_str!("../../tests/tls/site/version_1.pem"),
        ] {
            assert_eq!(Pin::of_certificate(&certificate(text)).unwrap().to_string(), PIN.trim());
        }
    }

    #[test]
    fn a_broken_certificate_has_no_key() {
        let whole = certificate(include_str!("../../tests/tls/valid.pem"));
        for end in 0..whole.len() {
            let part = CertificateDer::from(whole.get(..end).unwrap());
            assert_eq!(public_key(&part), None, "{end}");
        }
        for at in 0..whole.len() {
            let mut bytes = whole.to_vec();
            bytes[at] ^= 0xff;
            // Whatever it finds, it finds it without a panic, and inside the certificate.
            let broken = CertificateDer::from(bytes);
            assert!(public_key(&broken).is_none_or(|key| key.len() < whole.len()));
        }
        for bytes in [
            &[][..],
            &[0x30],
            &[0x30, 0x84, 0, 0, 0, 1],
            &[0x30, 0x80, 0, 0],
            &[0x30, 0x83, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(public_key(&CertificateDer::from(bytes)), None);
        }
    }
}
