//! What a broken attempt means for the task: not done, or unknown.
//!
//! **Shape**: an error of the client and whether the request had been handed to a connection -> `GatewayError`.
//!
//! **Invariants**: `not_done` is said only where no byte of the request can have left:
//! - before the request was handed to a connection (`capture_connection` reports the hand-over, and the client library
//!   sets it in the same poll in which it puts the request on the connection's queue); or
//! - when hyper says `is_canceled`. In hyper 1.12 every such error of the request path is made where the request is
//!   still whole in the sender's hands: the queue refused it (`client/conn/http1.rs`, "connection was not ready"), the
//!   queue was dropped with it inside (`client/dispatch.rs`, `Envelope::drop`), or the connection broke before taking
//!   it from the queue (`proto/h1/dispatch.rs`, `recv_msg`). A request that was taken fails with another kind.
//! - when the vendor refuses taskgate's certificate. In TLS 1.3 it does so after its client has begun to write, and before it
//!   reads a byte of what was written (RFC 8446 sections 4.4.2.4 and 4.6.2: rustls offers no authentication after the handshake).
//!
//! Everything else is `unknown`. Causes go to `internal`; `detail` names no host and no address.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use super::connect::ConnectFailure;
use super::tls::TlsFault;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// An attempt that ended with an error before the head of the answer was read.
pub(super) fn of_attempt(error: &(dyn Error + 'static), handed_over: bool) -> GatewayError {
    let failed = if handed_over {
        after_hand_over(error)
    } else {
        before_hand_over(error)
    };
    failed.with_internal(chain(error))
}

/// An answer whose head was read and whose body was not.
pub(super) fn of_body(error: &(dyn Error + 'static)) -> GatewayError {
    let malformed = sources(error).filter_map(|e| e.downcast_ref::<io::Error>()).any(|e| {
        // The kinds with which hyper reports a chunk size, extension or end that it cannot read.
        matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
    });
    let failed = if malformed {
        GatewayError::new(Reason::BadVendorResponse, "the body of the vendor's answer is not valid HTTP")
    } else {
        GatewayError::new(Reason::VendorConnectionLost, "the vendor's answer ended before it was complete")
    };
    failed.with_internal(chain(error))
}

/// The deadline of the caller passed before the request was handed to a connection.
pub(super) fn out_of_time() -> GatewayError {
    GatewayError::new(
        Reason::DeadlineExceeded,
        "the time for the call ran out before anything was sent to the vendor",
    )
}

/// The request was handed to a connection and no complete answer came within `limit`.
pub(super) fn timed_out(limit: Duration) -> GatewayError {
    let ms = millis(limit);
    GatewayError::new(Reason::VendorTimeout, format!("the vendor gave no complete answer within {ms} ms")).with_metadata("timeout_ms", ms)
}

/// The answer is larger than what is read of it.
pub(super) fn too_large(limit: usize) -> GatewayError {
    GatewayError::new(
        Reason::BadVendorResponse,
        format!("the vendor's answer is larger than {limit} bytes"),
    )
    .with_metadata("max_reply_bytes", limit)
}

/// A head that is valid and still no answer to the request.
pub(super) fn not_an_answer(detail: &str) -> GatewayError {
    GatewayError::new(Reason::BadVendorResponse, detail)
}

/// The mapping made a request that cannot be sent as HTTP.
pub(super) fn unsendable(detail: &str) -> GatewayError {
    GatewayError::new(Reason::MappingFailed, detail)
}

fn before_hand_over(error: &(dyn Error + 'static)) -> GatewayError {
    let unreachable = |detail: &str| GatewayError::new(Reason::VendorUnreachable, detail);
    if sources(error).filter_map(|e| e.downcast_ref::<io::Error>()).any(is_own_shortage) {
        return GatewayError::new(Reason::Overloaded, "taskgate has no connections left to open; nothing was sent");
    }
    match sources(error).find_map(|e| e.downcast_ref::<ConnectFailure>()) {
        Some(ConnectFailure::Tcp(_)) => unreachable("no connection to the vendor could be made"),
        Some(ConnectFailure::Timeout(limit)) => {
            let ms = millis(*limit);
            unreachable(&format!("no connection to the vendor could be made within {ms} ms")).with_metadata("connect_timeout_ms", ms)
        }
        Some(ConnectFailure::Tls(cause)) => tls_failed(TlsFault::of(cause.as_ref())),
        None => unreachable("the connection to the vendor broke before the request was sent"),
    }
}

/// Does this machine lack something, descriptors, ports or memory? Then the vendor is not to blame.
fn is_own_shortage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
        || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

fn tls_failed(fault: TlsFault) -> GatewayError {
    GatewayError::new(Reason::VendorTlsFailed, fault.detail()).with_metadata("tls", fault.as_str())
}

fn after_hand_over(error: &(dyn Error + 'static)) -> GatewayError {
    if TlsFault::of(error) == TlsFault::OwnCertificate {
        return tls_failed(TlsFault::OwnCertificate);
    }
    match sources(error).find_map(|e| e.downcast_ref::<hyper::Error>()) {
        Some(e) if e.is_canceled() => GatewayError::new(
            Reason::VendorUnreachable,
            "the connection to the vendor broke before the request was sent",
        ),
        Some(e) if e.is_parse_too_large() => GatewayError::new(Reason::BadVendorResponse, "the head of the vendor's answer is too large"),
        Some(e) if e.is_parse() || e.is_parse_status() => {
            GatewayError::new(Reason::BadVendorResponse, "the vendor's answer is not valid HTTP")
        }
        _ => GatewayError::new(
            Reason::VendorConnectionLost,
            "the connection broke before the vendor's answer was complete",
        ),
    }
}

/// The error and everything below it.
fn sources<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |&e| e.source())
}

/// The whole chain in one line, for the log.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    for (depth, error) in sources(error).enumerate() {
        let separator = if depth == 0 { "" } else { ": " };
        write!(text, "{separator}{error}").expect("writing to a string cannot fail");
    }
    text
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// The numbers of POSIX systems for "too many open files", of the system and of the process; the library has no name for them.
const ENFILE: i32 = 23;
const EMFILE: i32 = 24;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_of_our_own_is_not_the_vendors() {
        for (cause, expected) in [
            (io::Error::from_raw_os_error(EMFILE), Reason::Overloaded),
            (io::Error::from_raw_os_error(ENFILE), Reason::Overloaded),
            (io::ErrorKind::AddrNotAvailable.into(), Reason::Overloaded),
            (io::ErrorKind::ConnectionRefused.into(), Reason::VendorUnreachable),
        ] {
            let error = of_attempt(&ConnectFailure::Tcp(Box::new(cause)), false);
            assert_eq!(error.reason, expected);
        }
    }
}
