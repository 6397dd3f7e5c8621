# What is done here often; `just --list` tells. Each is a plain command that can be typed without just.

# All eight programs, optimised
build:
    cargo build --release

# Every test that can run here
test *ARGS:
    scripts/test {{ ARGS }}

# What CI asks for beyond the tests
lint:
    cargo fmt --check
    cargo clippy --all-targets -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --no-deps --document-private-items

fmt:
    cargo fmt

# man/*.1, out of the programs
man:
    scripts/man

# Records examples/burn.rs and leaves its flame graph
demo OUT="demo.svg":
    scripts/demo {{ OUT }}

bench *ARGS:
    cargo bench {{ ARGS }}

# The code for macOS and Windows checked, the tests that can run anywhere run as Windows programs under wine
cross *STEPS="--clippy mac win wine":
    scripts/cross {{ STEPS }}

# Licences, sources and duplicates of the dependencies
deny:
    cargo deny check

# All that must hold of a commit
ci:
    .ci/run
