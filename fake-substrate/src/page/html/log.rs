//! Lines as the host received them.

use maud::{Markup, html};

use super::super::feed::{Line, Severity};
use super::super::snapshot::Snapshot;
use super::words;

/// The list with what chooses from it. The choice of machines is made once: the script adds those
/// that come later.
pub(super) fn list(snapshot: &Snapshot, lines: &[Line], only: Option<&str>) -> Markup {
    let shown = lines.iter();
    let shown = shown.filter(|line| only.is_none_or(|name| name == line.machine));
    html! {
        form.choice method="get" action="/" {
            label for="log-machine" { "Machine" }
            select #log-machine name="log" {
                option value="" { "all" }
                @for machine in &snapshot.machines {
                    @let name = machine.view.name.as_str();
                    option value=(name) selected[only == Some(name)] { (name) }
                }
            }
            button #log-show type="submit" { "Show" }
            label.check for="log-connections" {
                input #log-connections type="checkbox";
                " clients that come and go"
            }
        }
        ol #log.log role="log" aria-live="off" aria-label="Log lines, the latest last" tabindex="0" {
            @for one in shown { (line(one)) }
        }
    }
}

pub(in super::super) fn line(line: &Line) -> Markup {
    let class = match line.severity {
        Severity::Plain => "plain",
        Severity::Connection => "connection",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    html! {
        li.(class) data-machine=(line.machine) {
            span.where { span.when { (words::clock(line.arrived_ms)) } " " b { (line.machine) } " " (line.source) }
            " "
            span.text {
                (line.text)
                @if line.cut > 0 { " […" (line.cut) " bytes more]" }
            }
        }
    }
}

/// In place of lines that a slow reader missed.
pub(in super::super) fn missed(count: u64) -> Markup {
    html! { li.warning data-machine="" { span.text { "[" (count) " lines came too fast for this page and are left out]" } } }
}
