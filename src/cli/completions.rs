//! Completions of `cargo flamegraph`, as it is typed, beside those of `cargo-flamegraph`.

use clap_complete::Shell;

/// Wraps the completions of cargo, which know no other subcommands.
const BASH: &str = r#"
_cargo_flamegraph_typed() {
    if [[ ${COMP_WORDS[1]} != flamegraph ]]; then
        declare -F _cargo >/dev/null || _completion_loader cargo 2>/dev/null
        complete -F _cargo_flamegraph_typed -o bashdefault -o default cargo
        declare -F _cargo >/dev/null && _cargo "$@"
        return
    fi
    COMP_WORDS=(cargo-flamegraph "${COMP_WORDS[@]:2}")
    COMP_CWORD=$((COMP_CWORD - 1))
    _cargo__flamegraph cargo-flamegraph "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
}
complete -F _cargo_flamegraph_typed -o bashdefault -o default cargo
"#;

/// Returns the lines to add to the completions of `cargo-flamegraph` for `shell`.
///
/// zsh needs none: cargo's completions call `_cargo-flamegraph`.
pub(super) fn as_subcommand(shell: Shell, own: &str) -> String {
    match shell {
        Shell::Bash => BASH.into(),
        Shell::Fish => own.replace(
            "complete -c cargo-flamegraph",
            "complete -c cargo -n '__fish_seen_subcommand_from flamegraph'",
        ),
        _ => String::new(),
    }
}
