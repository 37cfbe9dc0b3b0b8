//! The platform on a laptop.
