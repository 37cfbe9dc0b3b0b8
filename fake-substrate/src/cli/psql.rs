//! `psql`: the client of the machine's own image, with this terminal or pipe attached.

use std::convert::Infallible;
use std::process::ExitCode;

use clap::Args;
use futures_util::{Stream, TryStreamExt as _};
use tokio::io::{AsyncWrite, AsyncWriteExt as _};

use crate::docker::DockerError;
use crate::docker::exec::{Program, Running, Session};
use crate::docker::logs::Output;
use crate::machine::metadata::Login;
use crate::names::MachineName;

use super::{CliError, Site, logs, terminal};

#[derive(Debug, Args)]
pub(crate) struct Psql {
    /// Which machine
    name: MachineName,
    /// Past the pooler: needed for LISTEN, session settings, prepared transactions
    #[arg(long)]
    direct: bool,
    /// Arguments for psql
    #[arg(last = true, value_name = "ARGS")]
    pub(super) arguments: Vec<String>,
}

impl Psql {
    pub(super) async fn run(self, site: &Site) -> Result<ExitCode, CliError> {
        let machine = site.machine(self.name.clone()).await?;
        let login = machine.login().await?;
        let terminal = terminal::is_interactive();
        let session = machine.session(self.program(login, terminal)).await?;
        // Restored before the exit code is passed on.
        let raw = terminal
            .then(terminal::Raw::enter)
            .transpose()
            .map_err(CliError::Terminal)?;
        let code = converse(session, terminal).await;
        drop(raw);
        Ok(ExitCode::from(u8::try_from(code?).unwrap_or(u8::MAX)))
    }

    /// Through the environment, so that the password is in nobody's process list and a `-d` among
    /// the arguments still wins.
    fn program(self, login: Login, terminal: bool) -> Program {
        let port = if self.direct {
            wire::ports::DIRECT
        } else {
            wire::ports::POOLER
        };
        let mut env = vec![
            ("PGHOST".to_owned(), "127.0.0.1".to_owned()),
            ("PGPORT".to_owned(), port.to_string()),
            ("PGUSER".to_owned(), Login::USER.to_owned()),
            ("PGPASSWORD".to_owned(), login.password),
            ("PGDATABASE".to_owned(), login.database),
            ("PGSSLMODE".to_owned(), "require".to_owned()),
        ];
        if terminal {
            // Every terminal of the last decades understands it, and the image knows it.
            env.push(("TERM".to_owned(), "xterm".to_owned()));
        }
        let mut argv = vec!["psql".to_owned()];
        argv.extend(self.arguments);
        Program {
            argv,
            env,
            user: None,
            terminal,
        }
    }
}

/// Serves both ends at once until the program has written its last.
async fn converse(session: Session, terminal: bool) -> Result<i64, CliError> {
    let Session {
        running,
        output,
        input,
    } = session;
    let size = follow_size(&running, terminal);
    tokio::select! {
        shown = show(output) => shown?,
        failed = size => return Err(failed),
        never = pass_on(input) => match never {},
    }
    Ok(running.exit_code().await?)
}

async fn show(
    mut output: impl Stream<Item = Result<Output, DockerError>> + Unpin,
) -> Result<(), CliError> {
    while let Some(piece) = output.try_next().await? {
        logs::write(&piece).map_err(CliError::Output)?;
    }
    Ok(())
}

/// Everything that comes in here goes in there, the end of it too. A psql that has ended reads no
/// more; its output tells the rest.
async fn pass_on(mut input: impl AsyncWrite + Unpin) -> Infallible {
    let mut pieces = terminal::input();
    while let Some(bytes) = pieces.recv().await {
        if input.write_all(&bytes).await.is_err() || input.flush().await.is_err() {
            break;
        }
    }
    drop(input.shutdown().await);
    std::future::pending().await
}

/// Ends only with a failure.
async fn follow_size(running: &Running, terminal: bool) -> CliError {
    if !terminal {
        return std::future::pending().await;
    }
    let mut resizes = match terminal::resizes() {
        Ok(resizes) => resizes,
        Err(error) => return CliError::Terminal(error),
    };
    loop {
        if let Some((columns, rows)) = terminal::size()
            && let Err(error) = running.resize(columns, rows).await
        {
            return error.into();
        }
        resizes.recv().await;
    }
}

#[cfg(test)]
mod tests {
    use super::{Login, Psql};

    #[test]
    fn the_password_is_in_no_argument() {
        let psql = Psql {
            name: "db".parse().unwrap(),
            direct: true,
            arguments: vec!["-l".to_owned()],
        };
        let login = Login {
            password: "sentinel".to_owned(),
            database: "shop".to_owned(),
        };
        let program = psql.program(login, false);
        assert_eq!(program.argv, ["psql", "-l"]);
        assert!(
            program
                .env
                .contains(&("PGPORT".to_owned(), "5433".to_owned()))
        );
        assert!(!format!("{program:?}").contains("sentinel"));
    }
}
