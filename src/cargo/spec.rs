//! Package specifications, as `--package` takes them: `name`, `name@1.2`, a URL, or a pattern such
//! as `app-*`.
//!
//! <https://doc.rust-lang.org/cargo/reference/pkgid-spec.html>

use cargo_metadata::Package;

use crate::filter::Pattern;

/// Whether `spec` names `package`.
pub(super) fn names(spec: &str, package: &Package) -> bool {
    if package.id.repr == spec {
        return true;
    }
    if !spec.contains("://") {
        let is_match =
            || Pattern::glob(spec).is_ok_and(|glob| glob.is_match(package.name.as_bytes()));
        return is_name(spec, package) || (spec.contains(['*', '?']) && is_match());
    }
    let (url, fragment) = match spec.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (spec, None),
    };
    let own = package.id.repr.split('#').next().unwrap_or_default();
    let is_version = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    plain(url) == plain(own)
        && fragment.is_none_or(|fragment| {
            if is_version(fragment) {
                has_version(package, fragment)
            } else {
                is_name(fragment, package)
            }
        })
}

/// A URL without the kind of its source and its last slash: `file:///w/one`.
fn plain(url: &str) -> &str {
    let url = match url.split_once('+') {
        Some((kind, rest)) if !kind.contains("://") => rest,
        _ => url,
    };
    url.trim_end_matches('/')
}

/// `name`, `name@version` or, as cargo wrote it once, `name:version`.
fn is_name(spec: &str, package: &Package) -> bool {
    let name: &str = package.name.as_ref();
    match spec.split_once(['@', ':']) {
        None => name == spec,
        Some((wanted, version)) => name == wanted && has_version(package, version),
    }
}

/// Whether the version is `wanted`, or starts with its parts: 1.2.3 is also 1 and 1.2.
fn has_version(package: &Package, wanted: &str) -> bool {
    let version = package.version.to_string();
    match version.strip_prefix(wanted) {
        Some(rest) => rest.is_empty() || rest.starts_with('.'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_a_specification() {
        let json = r#"{"packages":[{"name":"one","version":"1.2.30","id":"path+file:///w/one#1.2.30",
            "dependencies":[],"targets":[],"features":{},"manifest_path":"/w/one/Cargo.toml"}],
            "workspace_members":[],"resolve":null,"workspace_root":"/w","target_directory":"/t","version":1}"#;
        let metadata = cargo_metadata::MetadataCommand::parse(json).unwrap();
        let package = &metadata.packages[0];
        for (spec, is_named) in [
            ("one", true),
            ("one@1.2.30", true),
            ("one@1", true),
            ("one@1.2", true),
            ("one:1.2", true),
            ("one@1.2.3", false),
            ("one@2", false),
            ("two", false),
            ("o*", true),
            ("?ne", true),
            ("t*", false),
            ("path+file:///w/one#1.2.30", true),
            ("file:///w/one", true),
            ("file:///w/one/", true),
            ("file:///w/one#1.2", true),
            ("file:///w/one#one@1.2", true),
            ("path+file:///w/one#one", true),
            ("file:///w/one#two", false),
            ("file:///w/two", false),
            ("file:///w/one#2", false),
        ] {
            assert_eq!(names(spec, package), is_named, "{spec}");
        }
    }
}
