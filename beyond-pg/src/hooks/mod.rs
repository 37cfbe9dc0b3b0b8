//! Programs that an operator puts beside the configuration, to run at set points of a machine's life.

#[cfg_attr(
    not(any(test, feature = "fuzzing")),
    expect(dead_code, reason = "the supervisor does not run hooks yet")
)]
pub(crate) mod names;
