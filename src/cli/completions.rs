//! Completions of every program, and those of `cargo flamegraph` as it is typed, beside those of
//! `cargo-flamegraph`.

use clap::Command;
use clap_complete::Shell;

use super::Program;

/// The completions of a program.
pub(super) fn of<P: Program>(shell: Shell) -> Vec<u8> {
    let command = P::shaped();
    // Shells would offer hidden options too. clap adds the help and the version again.
    let own = |arg: &&clap::Arg| !["help", "version"].contains(&arg.get_id().as_str());
    let offered = command.get_arguments().filter(|arg| !arg.is_hide_set());
    let offered = offered.filter(own).cloned();
    let mut offered = Command::new(P::NAME).version(env!("CARGO_PKG_VERSION")).args(offered);
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut offered, P::NAME, &mut text);
    let more = P::more_completions(shell, &String::from_utf8_lossy(&text));
    text.extend_from_slice(more.as_bytes());
    text
}

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
