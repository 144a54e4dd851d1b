//! Benches of every stage of a request, fed from the shipped cases: `cargo bench --bench taskgate [-- <filter>]`.
//!
//! One program, so that a change links once. `docs/benchmarks.md` has the figures and how to take them.

#[path = "../tests/hostile/attack.rs"]
mod attack;
mod expression;
mod feed;
mod json;
mod normalize;
mod path;
mod render;
mod stack;
mod validate;
mod vendor;
mod xml;

// As the program that is shipped.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

criterion::criterion_group!(
    benches,
    path::bench,
    validate::bench,
    render::bench,
    json::read,
    json::write,
    xml::read,
    xml::write,
    xml::attacks,
    normalize::bench,
    expression::by_kind,
    expression::of_routes,
    stack::bench,
);
criterion::criterion_main!(benches);
