//! `psql`: the client of the machine's own image, with this terminal or pipe attached.

use std::process::ExitCode;

use clap::Args;
use futures_util::TryStreamExt as _;
use tokio::io::AsyncWriteExt as _;

use fake_substrate::docker::exec::{Program, Session};
use fake_substrate::machine::metadata::Login;
use fake_substrate::names::MachineName;

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

async fn converse(mut session: Session, terminal: bool) -> Result<i64, CliError> {
    let mut input = terminal::input();
    let mut input_open = true;
    let mut resizes = terminal::resizes().map_err(CliError::Terminal)?;
    if terminal {
        fit(&session).await?;
    }
    loop {
        tokio::select! {
            piece = session.output.try_next() => match piece? {
                Some(piece) => logs::write(&piece).map_err(CliError::Output)?,
                None => return Ok(session.exit_code().await?),
            },
            bytes = input.recv(), if input_open => {
                let passed_on = match bytes {
                    Some(bytes) => pass_on(&mut session, &bytes).await,
                    None => { input_open = false; session.input.shutdown().await }
                };
                // psql has ended and reads no more; its output tells the rest.
                input_open &= passed_on.is_ok();
            },
            Some(()) = resizes.recv(), if terminal => fit(&session).await?,
        }
    }
}

async fn pass_on(session: &mut Session, bytes: &[u8]) -> std::io::Result<()> {
    session.input.write_all(bytes).await?;
    session.input.flush().await
}

async fn fit(session: &Session) -> Result<(), CliError> {
    if let Some((columns, rows)) = terminal::size() {
        session.resize(columns, rows).await?;
    }
    Ok(())
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
