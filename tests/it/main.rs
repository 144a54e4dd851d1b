//! The integration tests: one crate, so that there is one program to link.
//!
//! | module | what it shows | boundary |
//! |---|---|---|
//! | `cases` | every shipped case, as it stands in `cases/` | stack |
//! | `catalog` | what the gateway says of itself, and the golden description of the interface | sockets |
//! | `openapi` | the description of the interface: whole, closed, true | pure |
//! | `sixth` | a vendor that nobody knew, added by YAML, schemas and cases alone | stack and sockets |
//! | `config` | bad routes and the exact text of their faults | compiler |
//! | `batch` | one action on many tasks | sockets |
//! | `credentials` | logins, expiry, signatures, handed-on headers | sockets |
//! | `edge` | what a caller can get wrong, byte by byte, by the rows of the fault catalogue | sockets |
//! | `stack` | what a caller can get wrong, and what can go wrong inside | stack, paused clock |
//! | `wire` | the gateway and the simulators over real sockets | sockets |
//! | `siblings` | providers that share a simulator with the provider of their vendor | sockets |
//! | `schemes_by_route` | what every route sends under every scheme of its vendor | sockets |
//! | `faults` | every fault of a vendor, for every provider | sockets |
//! | `isolation` | one provider in trouble, and what it costs the others | sockets |
//! | `operations` | accepted actions, asked for by their names at several instances | sockets |
//! | `cli` | the built program | process |
//! | `api_doc` | the calls of docs/api.md and docs/batch.md, and their answers | sockets |
//! | `docs_examples` | what the documents and the help show | files |
//! | `shown` | batches that are only checked | sockets |
//! | `simulators` | the vendors' simulators by themselves | sockets |

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on should say so where it stands; that holds for what tests share as well"
)]

mod answers;
mod api_doc;
mod batch;
mod caller;
mod cases;
mod catalog;
mod cli;
mod config;
mod content;
mod credentials;
mod docs_examples;
mod edge;
mod faults;
mod isolation;
mod openapi;
mod operations;
#[path = "../overheard/mod.rs"]
mod overheard;
mod program;
mod reload;
mod rig;
mod schemes_by_route;
mod shown;
mod siblings;
mod simulators;
mod sixth;
mod stack;
mod wire;
