//! "Did you mean": the one rule for it.

/// The candidate that a misspelt name most likely meant, if any is near enough.
pub(crate) fn suggest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let lower = name.to_lowercase();
    let allowed = (lower.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|c| (strsim::damerau_levenshtein(&c.to_lowercase().replace('-', "_"), &lower.replace('-', "_")), c))
        .filter(|(distance, c)| *distance <= allowed && *distance < c.chars().count())
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, c)| c)
}

/// A hint from a suggestion, or the list of what there is.
pub(crate) fn did_you_mean<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str> + Clone) -> String {
    match suggest(name, candidates.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => match list(candidates) {
            known if known.is_empty() => "there is none to choose from".to_owned(),
            known => format!("use one of: {known}"),
        },
    }
}

/// Names with commas, the first thirty of them.
pub(crate) fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let more = if names.len() > 30 { format!(", and {} more", names.len() - 30) } else { String::new() };
    format!("{}{more}", names[..names.len().min(30)].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["incremental", "tables", "table", "id", "schedule"];
        for (name, expected) in [
            ("incrmental", Some("incremental")),
            ("Tables", Some("tables")),
            ("shedule", Some("schedule")),
            ("ids", Some("id")),
            ("x", None),
            ("prefix", None),
            ("", None),
        ] {
            assert_eq!(suggest(name, known), expected, "{name}");
        }
        assert_eq!(did_you_mean("zzz", known), "use one of: incremental, tables, table, id, schedule");
    }
}
