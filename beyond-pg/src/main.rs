//! PID 1.

mod conf;
mod layout;
mod machine;
mod manifest;
mod metadata;
mod settings;

fn main() {}
