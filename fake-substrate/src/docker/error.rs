//! What can go wrong between us and Docker.

use bollard::errors::Error;

/// Docker did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// No daemon answers.
    #[error("Docker does not answer at {place}\nHINT: {hint}")]
    NotThere {
        /// Where it was looked for.
        place: String,
        /// What to do about it.
        hint: &'static str,
        /// What the client said.
        source: Error,
    },
    /// The daemon's disk is full.
    #[error(
        "Docker could not {attempted}: its disk is full\nHINT: see what takes the space with `docker system df`, free some with `docker system prune`"
    )]
    NoSpace {
        /// What was tried, on what.
        attempted: String,
        /// What Docker said.
        source: Error,
    },
    /// A host port that was free a moment ago is not any more.
    #[error(
        "Docker could not {attempted}: a port on localhost is already in use\nHINT: choose another with --port, or stop what listens there"
    )]
    PortTaken {
        /// What was tried, on what.
        attempted: String,
        /// What Docker said.
        source: Error,
    },
    /// Anything else.
    #[error("Docker could not {attempted}")]
    Request {
        /// What was tried, on what.
        attempted: String,
        /// What Docker said.
        source: Error,
    },
    /// Docker answered with something that no machine or substrate of ours looks like.
    #[error(
        "container {container} is not one of ours: {missing}\nHINT: it was made by another program or version; remove it with `docker rm -f {container}`"
    )]
    NotOurs {
        /// Which container.
        container: String,
        /// What it lacks.
        missing: &'static str,
    },
}

impl DockerError {
    /// Turns a client error into ours; `attempted` completes "Docker could not …".
    pub(crate) fn from_request(attempted: impl Into<String>) -> impl FnOnce(Error) -> Self {
        |source| {
            let attempted = attempted.into();
            let said = source.to_string();
            if said.contains("no space left on device") {
                Self::NoSpace { attempted, source }
            } else if said.contains("port is already allocated")
                || said.contains("address already in use")
            {
                Self::PortTaken { attempted, source }
            } else {
                Self::Request { attempted, source }
            }
        }
    }

    /// The thing asked about does not exist.
    pub fn is_not_found(&self) -> bool {
        self.status() == Some(404)
    }

    /// Something of that name exists already, or is in use.
    pub fn is_conflict(&self) -> bool {
        self.status() == Some(409)
    }

    /// Another request removes it right now.
    pub(crate) fn is_already_being_removed(&self) -> bool {
        let said = |error: &Error| error.to_string().contains("is already in progress");
        matches!(self, Self::Request { source, .. } if said(source))
    }

    /// A container was to leave a network that it is no member of.
    pub fn is_not_member(&self) -> bool {
        let said = |error: &Error| error.to_string().contains("is not connected to");
        matches!(self, Self::Request { source, .. } if said(source))
    }

    fn status(&self) -> Option<u16> {
        match self {
            Self::Request {
                source: Error::DockerResponseServerError { status_code, .. },
                ..
            } => Some(*status_code),
            _ => None,
        }
    }
}

/// `None` for what does not exist, where that is an answer rather than a failure.
pub(crate) trait Absent<T> {
    /// Turns "no such …" into `None`.
    fn absent_is_none(self) -> Result<Option<T>, DockerError>;
}

impl<T> Absent<T> for Result<T, DockerError> {
    fn absent_is_none(self) -> Result<Option<T>, DockerError> {
        match self {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Absent as _, DockerError, Error};

    fn answered(status_code: u16, message: &str) -> DockerError {
        let source = Error::DockerResponseServerError {
            status_code,
            message: message.to_owned(),
        };
        DockerError::from_request("start beyond-local.db")(source)
    }

    #[test]
    fn a_full_disk_and_a_taken_port_have_their_own_words() {
        let full = answered(500, "mkdir /var/lib/docker/x: no space left on device");
        assert!(matches!(full, DockerError::NoSpace { .. }));
        assert!(
            full.to_string()
                .starts_with("Docker could not start beyond-local.db: its disk is full")
        );
        let taken = answered(
            500,
            "Bind for 127.0.0.1:5432 failed: port is already allocated",
        );
        assert!(matches!(taken, DockerError::PortTaken { .. }));
        let taken = answered(
            500,
            "listen tcp4 127.0.0.1:5432: bind: address already in use",
        );
        assert!(matches!(taken, DockerError::PortTaken { .. }));
    }

    #[test]
    fn only_a_404_counts_as_absent() {
        assert!(matches!(
            Err::<(), _>(answered(404, "No such container")).absent_is_none(),
            Ok(None)
        ));
        assert!(
            Err::<(), _>(answered(500, "broken"))
                .absent_is_none()
                .is_err()
        );
        assert!(answered(409, "name in use").is_conflict());
    }
}
