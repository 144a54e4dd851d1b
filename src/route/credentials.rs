//! How taskgate proves itself to a vendor: the closed set of schemes, compiled.
//!
//! **Invariants**: nothing in here prints a secret: header values are sensitive, keys are `SecretString`s, and a login request
//! shows its method and path only. What a scheme adds to a request is decided in `upstream::credentials`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};

use super::Endpoint;
use crate::mapping::answer::AnswerTest;
use crate::mapping::fault::StatusPattern;
use crate::mapping::request::RequestTemplate;
use crate::mapping::template::{Placeholder, Template};
use crate::model::call::UpstreamRequest;

/// What is added to each request of a provider. Values print as `Sensitive`; two that are equal prove the same.
#[derive(Clone, Debug, PartialEq)]
pub enum Credentials {
    /// `Authorization: Basic …`
    Basic(Arc<BasicPlan>),
    /// A dated HMAC-SHA1 over method and path (the scheme `zstack-access-key`).
    DatedAccessKey(Arc<DatedAccessKey>),
    /// A header with a fixed secret value.
    Header(HeaderName, HeaderValue),
    /// Nothing.
    None,
    /// The caller's own header, handed on.
    Passthrough(HeaderName),
    /// An HMAC-SHA256 over the whole request.
    SdkHmacSha256(Arc<SdkKey>),
    /// A token that a login gives.
    Session(Arc<SessionPlan>),
}

impl Credentials {
    /// The header that carries a fixed secret.
    #[must_use]
    pub fn as_header(&self) -> Option<(HeaderName, &HeaderValue)> {
        match self {
            Self::Basic(plan) => Some((AUTHORIZATION, &plan.value)),
            Self::Header(name, value) => Some((name.clone(), value)),
            Self::DatedAccessKey(_) | Self::None | Self::Passthrough(_) | Self::SdkHmacSha256(_) | Self::Session(_) => None,
        }
    }

    /// The headers that the scheme sets, so that no route may.
    #[must_use]
    pub fn header_names(&self) -> Vec<HeaderName> {
        match self {
            Self::Basic(_) => vec![AUTHORIZATION],
            Self::DatedAccessKey(_) => vec![AUTHORIZATION, http::header::DATE],
            Self::Header(name, _) | Self::Passthrough(name) => vec![name.clone()],
            Self::None => Vec::new(),
            Self::SdkHmacSha256(key) => [AUTHORIZATION, X_SDK_DATE, X_SECURITY_TOKEN, X_SDK_CONTENT_SHA256]
                .into_iter()
                .chain(key.headers.iter().map(|(name, _)| name.clone()))
                .collect(),
            Self::Session(plan) => vec![plan.header.clone()],
        }
    }
}

/// HTTP Basic (RFC 7617).
#[derive(Clone, Debug, PartialEq)]
pub struct BasicPlan {
    /// The name of the credentials.
    pub name: String,
    /// `Basic …`
    pub value: HeaderValue,
    /// An answer that, once these credentials have been accepted, says that too many calls are under way and not that they are bad.
    pub limited: Option<AnswerTest>,
}

/// An access key that signs whole requests.
#[derive(Clone, Debug)]
pub struct SdkKey {
    /// Its public half.
    pub access_key: String,
    /// Its secret half.
    pub secret_key: SecretString,
    /// What a temporary key comes with.
    pub security_token: Option<HeaderValue>,
    /// Headers that are added and signed.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

impl PartialEq for SdkKey {
    fn eq(&self, other: &Self) -> bool {
        (&self.access_key, &self.security_token, &self.headers) == (&other.access_key, &other.security_token, &other.headers)
            && self.secret_key.expose_secret() == other.secret_key.expose_secret()
    }
}

/// An access key that signs method, date and path.
#[derive(Clone, Debug)]
pub struct DatedAccessKey {
    /// Its public half.
    pub id: String,
    /// Its secret half.
    pub secret: SecretString,
    /// The zone of the vendor's server: it compares wall clocks.
    pub zone: jiff::tz::TimeZone,
    /// How the zone is written in the `Date` header.
    pub zone_name: String,
    /// What is cut from the front of the path before it is signed.
    pub strip: String,
}

impl PartialEq for DatedAccessKey {
    fn eq(&self, other: &Self) -> bool {
        let plain = |key: &Self| (key.id.clone(), key.zone_name.clone(), key.strip.clone());
        (plain(self), &self.zone) == (plain(other), &other.zone) && self.secret.expose_secret() == other.secret.expose_secret()
    }
}

/// A login that gives a token, as data.
#[derive(Debug, PartialEq)]
pub struct SessionPlan {
    /// The name of the credentials: one session for all providers that name them.
    pub name: String,
    /// Where the login is sent.
    pub endpoint: Endpoint,
    /// The login.
    pub login: LoginPlan,
    /// The header that carries the token.
    pub header: HeaderName,
    /// Its value, over `token`.
    pub value: Template,
    /// A vendor's answer that says that the session has ended.
    pub expired: Option<AnswerTest>,
    /// A login's answer that says that the secret is bad.
    pub rejected: AnswerTest,
    /// For how long a bad secret is not tried again.
    pub remember: Duration,
    /// Ends the session when taskgate stops.
    pub logout: Option<LogoutPlan>,
}

/// The login request and where its answer has what.
#[derive(PartialEq)]
pub struct LoginPlan {
    /// The request, rendered: it depends on the environment only.
    pub request: UpstreamRequest,
    /// The statuses of a success.
    pub status: StatusPattern,
    /// The token.
    pub token: Template,
    /// When it was issued, as RFC 3339.
    pub issued_at: Option<Placeholder>,
    /// When it ends, as RFC 3339.
    pub expires_at: Option<Placeholder>,
    /// How many seconds it lives.
    pub expires_in: Option<Placeholder>,
    /// How long it lives when the answer does not say; also the most that is believed.
    pub lifetime: Duration,
}

impl fmt::Debug for LoginPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The body has the password.
        f.debug_struct("LoginPlan")
            .field("method", &self.request.method)
            .field("status", &self.status)
            .field("lifetime", &self.lifetime)
            .finish_non_exhaustive()
    }
}

/// The request that ends a session, over `token`.
#[derive(Debug, PartialEq)]
pub struct LogoutPlan {
    /// The request.
    pub request: RequestTemplate,
}

/// When a request was signed.
pub const X_SDK_DATE: HeaderName = HeaderName::from_static("x-sdk-date");
/// What a temporary key comes with.
pub const X_SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-security-token");
/// Says that the body is not part of the signature.
pub const X_SDK_CONTENT_SHA256: HeaderName = HeaderName::from_static("x-sdk-content-sha256");
