//! Which certificate the servers present, and making one where nobody gave us any (I-001, I-004).

pub(crate) mod self_signed;
pub(crate) mod source;
