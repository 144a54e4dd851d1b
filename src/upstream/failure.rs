//! What a broken attempt means for the task: not done, or unknown; and whether it may be made again.
//!
//! **Shape**: [`ConnectFailure`] or [`Broken`] -> [`Missed`] with a `GatewayError`.
//!
//! **Invariants**: `not_done` is said only where no byte of the request can have left:
//! - before there was a connection;
//! - where hyper gives the request back (`TrySendError::take_message`). In hyper 1.12 it does so where the request is still whole in
//!   its queue: the queue refused it (`client/conn/http1.rs`), was dropped with it inside (`client/dispatch.rs`, `Envelope::drop`),
//!   or the connection broke before taking it from the queue (`proto/h1/dispatch.rs`, `recv_msg`);
//! - where the transport took no byte between the hand-over and the end (`meter.rs`);
//! - when the vendor refuses taskgate's certificate. In TLS 1.3 it does so after its client has begun to write, and before it
//!   reads a byte of what was written (RFC 8446 sections 4.4.2.4 and 4.6.2: rustls offers no authentication after the handshake).
//!
//! Everything else is `unknown`. Causes go to `internal`; `detail` names no host and no address.

use std::error::Error;
use std::fmt::Write as _;
use std::io;
use std::time::Duration;

use super::connect::ConnectFailure;
use super::pool::Broken;
use super::tls::TlsFault;
use crate::model::error::GatewayError;
use crate::model::reason::Reason;

/// An attempt that brought no answer.
#[derive(Debug)]
pub(super) struct Missed {
    /// What is told where it stays at that.
    pub(super) error: GatewayError,
    /// What it means for another attempt.
    pub(super) miss: Miss,
    /// Does it say nothing about how the vendor is: taskgate's limits or mapping, the caller's time, a certificate that only people
    /// can mend?
    pub(super) own: bool,
}

/// What a missed attempt means for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Miss {
    /// Nothing has left, and another attempt would end alike.
    Refused,
    /// Something may have left.
    Sent,
    /// Nothing has left: a connection that had been kept was dead. That says nothing about the vendor.
    Stale,
    /// Nothing has left; another attempt may do better.
    Unsent,
}

impl Missed {
    /// Nothing was tried, for a reason of taskgate's own.
    pub(super) fn own(error: GatewayError) -> Self {
        Self {
            error,
            miss: Miss::Refused,
            own: true,
        }
    }

    /// There is no connection.
    pub(super) fn connect(failure: &ConnectFailure) -> Self {
        let unreachable = |detail: &str| GatewayError::new(Reason::VendorUnreachable, detail);
        let (error, miss) = match failure {
            ConnectFailure::Name(_) => (
                unreachable("the name of the vendor's host leads to no address for now"),
                Miss::Unsent,
            ),
            ConnectFailure::Tcp(error) if is_own_limit(error) => {
                let detail = "taskgate has no connections left to open; nothing was sent";
                (GatewayError::new(Reason::Overloaded, detail), Miss::Unsent)
            }
            ConnectFailure::Tcp(_) => (unreachable("no connection to the vendor could be made"), Miss::Unsent),
            ConnectFailure::Timeout(limit) => {
                let ms = millis(*limit);
                let error = unreachable(&format!("no connection to the vendor could be made within {ms} ms"));
                (error.with_metadata("connect_timeout_ms", ms), Miss::Unsent)
            }
            ConnectFailure::Tls(cause) => {
                let fault = TlsFault::of(cause.as_ref());
                // What a certificate says does not change by asking again; a handshake that broke may.
                let miss = if fault == TlsFault::Handshake {
                    Miss::Unsent
                } else {
                    Miss::Refused
                };
                (tls_failed(fault), miss)
            }
        };
        Self {
            error: error.with_internal(chain(failure)),
            miss,
            own: miss == Miss::Refused || matches!(failure, ConnectFailure::Tcp(error) if is_own_limit(error)),
        }
    }

    /// The exchange on a connection broke. `kept`: it was one that had been kept; `limit`: how long it could take; `cut`: that was
    /// too short to say something about the vendor; `most`: so much of an answer is read.
    pub(super) fn exchange(broken: Broken, kept: bool, limit: Duration, cut: bool, most: usize) -> Self {
        let own = match &broken {
            Broken::Time { .. } => cut,
            Broken::TooLarge => true,
            Broken::Body(_) | Broken::Flood | Broken::Lost(_) | Broken::Unfit(_) | Broken::Unsent(_) => false,
        };
        let (error, miss) = match broken {
            Broken::Unsent(error) => {
                let detail = "the connection to the vendor broke before the request was sent";
                let told = GatewayError::new(Reason::VendorUnreachable, detail).with_internal(chain(&error));
                (told, if kept { Miss::Stale } else { Miss::Unsent })
            }
            Broken::Lost(error) => return Self::lost(&error),
            Broken::Flood => (not_an_answer("the vendor sends interim answers without end"), Miss::Sent),
            Broken::Time { sent: true } => (timed_out(limit), Miss::Sent),
            Broken::Time { sent: false } => {
                let ms = millis(limit);
                let detail = format!("the connection to the vendor took nothing of the request within {ms} ms");
                let error = GatewayError::new(Reason::VendorUnreachable, detail).with_metadata("timeout_ms", ms);
                (error, Miss::Refused)
            }
            Broken::TooLarge => (too_large(most), Miss::Sent),
            Broken::Unfit(detail) => (not_an_answer(detail), Miss::Sent),
            Broken::Body(error) => (of_body(&error), Miss::Sent),
        };
        Self {
            error,
            miss,
            own: own || miss == Miss::Stale,
        }
    }

    fn lost(error: &hyper::Error) -> Self {
        let (told, miss) = if TlsFault::of(error) == TlsFault::OwnCertificate {
            (tls_failed(TlsFault::OwnCertificate), Miss::Refused)
        } else if error.is_parse_too_large() {
            (not_an_answer("the head of the vendor's answer is too large"), Miss::Sent)
        } else if error.is_parse() || error.is_parse_status() {
            (not_an_answer("the vendor's answer is not valid HTTP"), Miss::Sent)
        } else {
            let detail = "the connection broke before the vendor's answer was complete";
            (GatewayError::new(Reason::VendorConnectionLost, detail), Miss::Sent)
        };
        Self {
            error: told.with_internal(chain(error)),
            own: miss == Miss::Refused,
            miss,
        }
    }
}

/// An answer whose head was read and whose body was not.
fn of_body(error: &(dyn Error + 'static)) -> GatewayError {
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

/// Is it a limit of this machine: its open files, its ports?
fn is_own_limit(error: &io::Error) -> bool {
    // ENFILE and EMFILE of Linux, errno(3): they have no kind of their own.
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::OutOfMemory)
        || matches!(error.raw_os_error(), Some(ENFILE | EMFILE))
}

/// The deadline of the caller passed before the request was handed to a connection.
pub(super) fn out_of_time() -> GatewayError {
    GatewayError::new(
        Reason::DeadlineExceeded,
        "the time for the call ran out before anything was sent to the vendor",
    )
}

/// The request was handed to a connection and no complete answer came within `limit`.
fn timed_out(limit: Duration) -> GatewayError {
    let ms = millis(limit);
    GatewayError::new(Reason::VendorTimeout, format!("the vendor gave no complete answer within {ms} ms")).with_metadata("timeout_ms", ms)
}

/// The answer is larger than what is read of it.
fn too_large(limit: usize) -> GatewayError {
    GatewayError::new(
        Reason::BadVendorResponse,
        format!("the vendor's answer is larger than {limit} bytes"),
    )
    .with_metadata("max_reply_bytes", limit)
}

/// A head that is valid and still no answer to the request.
fn not_an_answer(detail: &str) -> GatewayError {
    GatewayError::new(Reason::BadVendorResponse, detail)
}

/// The mapping made a request that cannot be sent as HTTP.
pub(super) fn unsendable(detail: &str) -> GatewayError {
    GatewayError::new(Reason::MappingFailed, detail)
}

fn tls_failed(fault: TlsFault) -> GatewayError {
    GatewayError::new(Reason::VendorTlsFailed, fault.detail()).with_metadata("tls", fault.as_str())
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
            let missed = Missed::connect(&ConnectFailure::Tcp(cause));
            assert_eq!((missed.error.reason, missed.own), (expected, expected == Reason::Overloaded));
        }
    }
}
