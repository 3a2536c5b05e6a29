//! The stand-in for AWS, which `./x test` starts: see `tests/aws.sh`.

/// The address of the stand-in.
///
/// # Panics
/// When there is none.
pub fn shared() -> String {
    let hint = "run ./x test, or eval \"$(./x aws start)\"";
    std::env::var("HAKIRI_TEST_AWS").unwrap_or_else(|_| panic!("HAKIRI_TEST_AWS is not set: {hint}"))
}
