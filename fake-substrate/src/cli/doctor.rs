//! `doctor`: what stands on this Docker, why, and what keeps something from working.

use std::process::ExitCode;

use clap::Args;
use comfy_table::{Table, presets};
use serde::Serialize;

use crate::doctor::{self, Finding, Kind, Piece, Weight};

use super::{CliError, Site, answer};

#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// For a program
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Report {
    findings: Vec<Finding>,
    pieces: Vec<PieceLine>,
}

#[derive(Debug, Serialize)]
struct PieceLine {
    substrate: String,
    kind: Kind,
    name: String,
    state: Option<String>,
    purpose: String,
    privileges: &'static str,
}

impl Doctor {
    /// Fails when something is in trouble.
    pub(super) async fn run(self, site: &Site) -> Result<ExitCode, CliError> {
        let facts = doctor::look(&site.docker).await?;
        let mut pieces: Vec<_> = facts.pieces.iter().map(PieceLine::of).collect();
        pieces.sort_by(|one, other| {
            (&one.substrate, one.kind, &one.name).cmp(&(&other.substrate, other.kind, &other.name))
        });
        let findings = doctor::findings(&facts);
        let troubled = findings.iter().any(|found| found.weight == Weight::Trouble);
        let report = Report { findings, pieces };
        let text = match self.json {
            true => serde_json::to_string_pretty(&report)
                .map_err(|error| CliError::Output(error.into()))?,
            false => report.text(),
        };
        answer(&text)?;
        Ok(match troubled {
            true => ExitCode::FAILURE,
            false => ExitCode::SUCCESS,
        })
    }
}

impl PieceLine {
    fn of(piece: &Piece) -> Self {
        Self {
            substrate: piece.substrate.to_string(),
            kind: piece.kind,
            name: piece.name.clone(),
            state: piece.state.clone(),
            purpose: piece.to_string(),
            privileges: piece.privileges(),
        }
    }
}

impl Report {
    fn text(&self) -> String {
        let mut lines = Vec::new();
        for Finding { weight, what, hint } in &self.findings {
            lines.push(format!("{:8}{what}", weight.to_string()));
            lines.extend(hint.iter().map(|hint| format!("        HINT: {hint}")));
        }
        if self.pieces.is_empty() {
            lines.push(String::new());
            lines.push("There is no substrate: `fake-substrate up` makes one.".to_owned());
            return lines.join("\n");
        }
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_header([
            "SUBSTRATE",
            "WHAT",
            "NAME",
            "STATE",
            "WHAT FOR",
            "PRIVILEGES",
        ]);
        for piece in &self.pieces {
            let kind = match piece.kind {
                Kind::Network => "network",
                Kind::Container => "container",
                Kind::Volume => "volume",
            };
            table.add_row([
                piece.substrate.as_str(),
                kind,
                &piece.name,
                piece.state.as_deref().unwrap_or("-"),
                &piece.purpose,
                piece.privileges,
            ]);
        }
        lines.push(String::new());
        lines.push(table.trim_fmt());
        lines.join("\n")
    }
}
