//! What nobody who means well sends: documents, bytes and texts made to break a reader.
//!
//! | module | what it shows | boundary |
//! |---|---|---|
//! | `suite` | the XML conformance suite of the W3C, document by document | codec |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should say so where it stands; that holds for what tests share as well"
)]

mod suite;
