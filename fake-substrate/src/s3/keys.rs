//! The access key of a substrate's object storage: made once, kept with the objects.

use std::path::Path;
use std::{fmt, fs, io};

use s3s::auth::{S3Auth, SecretKey};
use s3s::{S3Result, s3_error};
use serde::{Deserialize, Serialize};

use crate::machine::metadata::{NoRandomness, generated_password};
use crate::serve::state::{StateError, write_private};

const FILE: &str = "s3-keys.json";

/// Who may use the object storage.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keys {
    /// Its public half.
    pub access_key: String,
    /// What requests are signed with.
    pub secret_key: String,
}

/// The secret is no debug output.
impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("access_key", &self.access_key)
            .field("secret_key", &"***")
            .finish()
    }
}

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The file cannot be used.
    #[error(transparent)]
    State(#[from] StateError),
    /// No secret could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Keys {
    /// Those of the folder, made when it has none.
    pub fn open(dir: &Path) -> Result<Self, KeysError> {
        let path = dir.join(FILE);
        match fs::read(&path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| StateError::Foreign { path, source }.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let keys = Self {
                    access_key: format!("BEYOND{}", generated_password()?.to_uppercase()),
                    secret_key: generated_password()?,
                };
                let text = serde_json::to_vec(&keys)
                    .map_err(|source| StateError::Foreign { path, source })?;
                write_private(dir, FILE, &text)?;
                Ok(keys)
            }
            Err(source) => Err(StateError::Io {
                verb: "read",
                path,
                source,
            }
            .into()),
        }
    }
}

#[async_trait::async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        if access_key == self.access_key {
            Ok(SecretKey::from(self.secret_key.as_str()))
        } else {
            Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            ))
        }
    }
}
