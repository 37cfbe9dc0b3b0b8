//! The hands: files, processes and the clock. They decide nothing and import nothing of the core.

pub(crate) mod clock;
pub(crate) mod exec;
pub(crate) mod fs;
pub(crate) mod unnamed;
