//! Claims about settings.
