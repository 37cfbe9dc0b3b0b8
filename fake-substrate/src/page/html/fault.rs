//! What is broken on purpose, and the form that breaks object storage.

use maud::{Markup, html};

use super::super::fault::Kind;
use super::{Setting, button, token, words};
use crate::fault::Standing;
use crate::s3::faults::Operation;

pub(super) fn standing(setting: &Setting, faults: &[Standing]) -> Markup {
    if faults.is_empty() {
        return html! { p.nothing { "Nothing is broken on purpose." } };
    }
    html! {
        table.faults {
            thead {
                tr {
                    th scope="col" { "Fault" }
                    th scope="col" { "Struck" }
                    th scope="col" { "Ends" }
                    th scope="col" { "Since" }
                    th scope="col" { span.unseen { "Clear" } }
                }
            }
            tbody {
                @for fault in faults {
                    tr {
                        th scope="row" { span.of { (fault.id) } " " (fault.fault) }
                        td data-label="Struck" { (fault.struck) }
                        td data-label="Ends" { (ends(fault.remaining)) }
                        td data-label="Since" { (words::moment(fault.since_unix_ms)) }
                        td {
                            (button(
                                setting,
                                &format!("/faults/{}/clear", fault.id),
                                "Clear",
                                &format!("End fault {}", fault.id),
                                true,
                            ))
                        }
                    }
                }
            }
        }
    }
}

fn ends(remaining: Option<u32>) -> String {
    match remaining {
        None => "when cleared".to_owned(),
        Some(1) => "after once more".to_owned(),
        Some(times) => format!("after {times} more"),
    }
}

pub(super) fn form(setting: &Setting) -> Markup {
    html! {
        details.add {
            summary { "Break object storage" }
            form.fields method="post" action="/faults" data-act data-clear {
                (token(setting))
                label for="fault-kind" { "What happens"
                    select #fault-kind name="kind" {
                        @for kind in Kind::ALL { option value=(kind.word()) { (kind.label()) } }
                    }
                }
                label for="fault-figure" { "Figure"
                    input #fault-figure name="figure" type="number" min="1" inputmode="numeric"
                        aria-describedby="fault-help" placeholder="as it is usual";
                }
                label for="fault-on" { "Operation"
                    select #fault-on name="on" {
                        option value="" { "every one" }
                        @for (_, name) in Operation::ALL { option value=(name) { (name) } }
                    }
                }
                label for="fault-key" { "Keys like"
                    input #fault-key name="key" placeholder="every key; * is any text";
                }
                label for="fault-times" { "So often"
                    input #fault-times name="times" type="number" min="1" inputmode="numeric"
                        placeholder="until cleared";
                }
                button type="submit" { "Break it" }
            }
            p #fault-help.of {
                "Figure: the status that is answered (503), the delay in milliseconds (500), or bytes in a second (65536)."
            }
        }
    }
}
