//! What every process of the machine inherits: set in PID 1, before it has children.

use nix::sys::resource::{self, getrlimit, setrlimit};
use nix::sys::stat::{Mode, umask};

use crate::inheritance::{LIMITS, Limit, Resource, UMASK};

/// Sets resource limits and umask of this process. A limit that the kernel does not grant is said and
/// left as it is: a machine that serves with less is better than none.
pub(crate) fn bequeath() {
    umask(Mode::from_bits_truncate(UMASK));
    for limit in LIMITS {
        if let Err(errno) = set(limit) {
            let Limit {
                resource,
                soft,
                why,
            } = limit;
            tracing::warn!(
                "the limit {resource:?} stays as it is, it was to be {soft} ({why}): {errno}"
            );
        }
    }
}

fn set(limit: Limit) -> Result<(), nix::Error> {
    let resource = kernels(limit.resource);
    let (_soft, hard) = getrlimit(resource)?;
    let [best, second] = limit.tries(hard);
    setrlimit(resource, best.0, best.1)
        .or_else(|_not_permitted| setrlimit(resource, second.0, second.1))
}

fn kernels(resource: Resource) -> resource::Resource {
    match resource {
        Resource::OpenFiles => resource::Resource::RLIMIT_NOFILE,
        Resource::CoreFile => resource::Resource::RLIMIT_CORE,
        Resource::Stack => resource::Resource::RLIMIT_STACK,
    }
}
