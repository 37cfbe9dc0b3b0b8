//! `05-pitr.conf`: where a restore ends. Present while a restore target is set.

use super::ConfInputs;
use super::guc::Fragment;
use crate::settings::RestoreTarget;

pub(super) fn render(inputs: &ConfInputs<'_>) -> Option<String> {
    let target = inputs.settings.restore.as_ref()?;
    let (name, value) = match target {
        RestoreTarget::Time(time) => ("recovery_target_time", time),
        RestoreTarget::Lsn(lsn) => ("recovery_target_lsn", lsn),
        RestoreTarget::Name(name) => ("recovery_target_name", name),
    };
    let restore_command = format!("{} restore %f %p", inputs.layout.beyond_pg().display());
    let mut conf = Fragment::new("A point-in-time restore is running.");
    conf.section("It ends here, on a timeline of its own, and opens for writing.")
        .set("restore_command", restore_command)
        .set(name, value.as_str())
        .set("recovery_target_timeline", "latest")
        .set("recovery_target_action", "promote");
    Some(conf.into_text())
}
