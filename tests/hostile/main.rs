//! What nobody who means well sends: documents, bytes and texts made to break a reader.
//!
//! | module | what it shows | boundary |
//! |---|---|---|
//! | `attack`, `attacks` | documents that make other readers of XML expand, fetch, recurse or crawl | codec |
//! | `bombs` | routes files that would fill the memory or the screen | compiler |
//! | `checks`, `corpora` | the checks of the fuzz targets, over the files of `fuzz/corpus` | function to stack |
//! | `suite` | the XML conformance suite of the W3C, document by document | codec |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should say so where it stands; that holds for what tests share as well"
)]

mod attack;
mod attacks;
mod bombs;
mod checks;
mod corpora;
mod suite;
