//! Which CONFIG parameters a key of a plugin's configuration is about. The plugin says so itself: by the same name, or in
//! the first words of the comment above the key in its description (`// repl-timeout: silence that ends a link`). Pure.

/// Units that a key ends with and a parameter doesn't.
const UNITS: &[&str] = &["-s", "-ms", "-us", "-mb"];

/// Those of `params` that `key` gives a value, by a plugin's `description` of its configuration.
pub(super) fn parameters<'a>(key: &str, description: &str, params: &'a [String]) -> Vec<&'a String> {
    let dashed = key.replace('_', "-");
    let bare = UNITS.iter().find_map(|unit| dashed.strip_suffix(unit)).unwrap_or(&dashed);
    let said = names_above(key, description);
    let named = |param: &&String| **param == dashed || **param == bare || said.contains(&param.as_str());
    let found: Vec<_> = params.iter().filter(named).collect();
    if !found.is_empty() {
        return found;
    }
    // Nothing was said: a parameter that only has a family's name in front (keystead-keep-data-on-empty-primary).
    let ends = |param: &&String| param.strip_suffix(bare).is_some_and(|family| family.ends_with('-'));
    params.iter().filter(ends).collect()
}

/// The names at the beginning of the comment above a key: `// one, another: what it means`.
fn names_above<'d>(key: &str, description: &'d str) -> Vec<&'d str> {
    let is_key = |line: &&str| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.starts_with(':'));
    let mut above = "";
    for line in description.lines() {
        if is_key(&line) {
            let names = above.trim_start().strip_prefix("//").and_then(|comment| comment.split_once(':'));
            return names.map(|(names, _)| names.split(',').map(str::trim).collect()).unwrap_or_default();
        }
        above = line;
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DESCRIPTION: &str = "(
    // appendonly: keep every write.
    enabled: true,
    // masteruser, old-user: the user, for AUTH: at the primary.
    auth_user: None,
    // Keep the data.
    keep_data: true,
    // repl-timeout: silence.
    timeout_s: 60,
    threshold_ms: 5,
)";

    #[test]
    fn a_key_s_parameters_are_what_the_plugin_says() {
        let names =
            "appendonly aof-timestamp-enabled masteruser old-user keystead-keep-data repl-timeout threshold save";
        let params: Vec<String> = names.split(' ').map(str::to_owned).collect();
        let cases: &[(&str, &[&str])] = &[
            ("enabled", &["appendonly"]),
            ("auth_user", &["masteruser", "old-user"]),
            ("keep_data", &["keystead-keep-data"]),
            ("timeout_s", &["repl-timeout"]),
            ("threshold_ms", &["threshold"]),
            ("save", &["save"]),
            ("data", &["keystead-keep-data"]),
            ("monitors", &[]),
        ];
        for (key, expected) in cases {
            assert_eq!(parameters(key, DESCRIPTION, &params), *expected, "{key}");
        }
    }
}
