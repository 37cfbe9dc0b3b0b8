//! What was asked for: progress and outcome.

use maud::{Markup, html};

use super::super::errands::{Errand, Stage};
use super::words;

pub(super) fn errands(errands: &[Errand]) -> Markup {
    html! {
        @if errands.is_empty() {
            li.nothing { "Nothing was asked for yet; the buttons below do it." }
        }
        @for errand in errands { (of(errand)) }
    }
}

fn of(errand: &Errand) -> Markup {
    let (class, word) = match &errand.stage {
        Stage::UnderWay { .. } => ("busy", "under way"),
        Stage::Done { .. } => ("good", "done"),
        Stage::Failed { .. } => ("bad", "failed"),
    };
    html! {
        li.errand.(class) {
            div.line {
                span.badge.(class) { (word) }
                strong { (errand.what) }
                @match &errand.stage {
                    Stage::UnderWay { .. } => span.when { "since " (words::moment(errand.began_ms)) },
                    Stage::Done { at_ms, .. } | Stage::Failed { at_ms, .. } => {
                        span.when {
                            (words::moment(*at_ms)) ", took " (took(errand.began_ms, *at_ms))
                        }
                    }
                }
            }
            @match &errand.stage {
                Stage::UnderWay { step, detail } => {
                    p { (step) }
                    @if !detail.is_empty() { p.detail aria-hidden="true" { (detail) } }
                }
                Stage::Done { outcome: Some(outcome), .. } => p { (outcome) },
                Stage::Done { outcome: None, .. } => {}
                Stage::Failed { told, .. } => {
                    p.text { (told.what) }
                    @for cause in &told.because { p.text { "because: " (cause) } }
                    @if let Some(hint) = &told.hint { p.hint { "Hint: " (hint) } }
                }
            }
        }
    }
}

fn took(from_ms: u64, to_ms: u64) -> String {
    let tenths = to_ms.saturating_sub(from_ms) / 100;
    format!("{}.{} s", tenths / 10, tenths % 10)
}
