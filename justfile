# The commands of this tree; each works without `just` as well.

# What there is
default:
    @just --list

# Everything that must hold before a change goes in
check:
    .ci/run

# Every test; with arguments those that match: `just test tidy`
test *args:
    ./scripts/test {{ args }}

# Many seeds of the simulated world: `just storms 10000`
storms *args:
    ./scripts/simulate-seeds {{ args }}

# The benches; with arguments those that match: `just bench xml`
bench *args:
    cargo bench --locked --bench taskgate -- {{ args }}

# A minute for each fuzz target; `just fuzz 600 xml` gives one of them ten
fuzz *args:
    ./scripts/fuzz {{ args }}

# Instructions per stage against the baseline; `just counts --update` writes it anew
counts *args:
    ./scripts/counts {{ args }}

# taskgate beside other gateways, a quarter of an hour; `just race --quick` is a look
race *args:
    benches/race/run {{ args }}

# The program as it is shipped, a quarter of an hour: target/dist/taskgate
dist *args:
    ./scripts/dist {{ args }}

# The gateway and simulators of all vendors; nothing to configure
demo *args:
    cargo run --release --locked -- demo {{ args }}

# Rewrite the tables in docs/ that are made of the program's own, and the answers that it gives
update:
    UPDATE=1 cargo test --locked --test tidy
    UPDATE=1 cargo test --locked --test it api_doc

# Licences, advisories and refused crates; needs cargo-deny and the network
deny:
    cargo deny check
