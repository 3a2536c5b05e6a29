//! The stand-in for AWS, which `./x test` starts: see `tests/aws.sh`.

/// The address of the stand-in: the same one for all of a process, of several that share the work of all tests.
///
/// # Panics
/// When there is none.
pub fn shared() -> String {
    let hint = "run ./x test, or eval \"$(./x aws start)\"";
    let all = std::env::var("HAKIRI_TEST_AWS").unwrap_or_else(|_| panic!("HAKIRI_TEST_AWS is not set: {hint}"));
    let all: Vec<&str> = all.split(',').collect();
    all[std::process::id() as usize % all.len()].to_owned()
}

/// A Python with AWS's own client, which `./x` installs beside the stand-in.
///
/// # Panics
/// When there is none.
pub fn python() -> std::path::PathBuf {
    let hint = "run ./x test, or eval \"$(./x aws start)\"";
    let folder =
        std::env::var_os("HAKIRI_TEST_AWS_TOOLS").unwrap_or_else(|| panic!("HAKIRI_TEST_AWS_TOOLS is not set: {hint}"));
    std::path::Path::new(&folder).join("bin/python")
}
