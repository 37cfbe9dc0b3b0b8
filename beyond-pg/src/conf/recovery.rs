//! Where a recovery that leaves a timeline ends, and `05-pitr.conf`, which is there while a restore is.

use super::ConfInputs;
use super::guc::Fragment;
use crate::layout::Layout;
use crate::settings::RestoreTarget;

pub(super) fn render(inputs: &ConfInputs<'_>) -> Option<String> {
    let target = inputs.settings.restore.as_ref();
    let target = target.filter(|_| inputs.restores)?;
    let (name, value) = ends_at(target);
    let mut conf = Fragment::new("A point-in-time restore is running.");
    conf.section("It ends here, on a timeline of its own, and opens for writing.")
        .set("restore_command", restore_command(inputs.layout))
        .set(name, value)
        .set("recovery_target_timeline", "latest")
        .set("recovery_target_action", "promote");
    Some(conf.into_text())
}

fn restore_command(layout: &Layout) -> String {
    format!("{} restore %f %p", layout.beyond_pg().display())
}

fn ends_at(target: &RestoreTarget) -> (&'static str, &str) {
    match target {
        RestoreTarget::Time(time) => ("recovery_target_time", time),
        RestoreTarget::Lsn(lsn) => ("recovery_target_lsn", lsn),
        RestoreTarget::Name(name) => ("recovery_target_name", name),
    }
}

/// Where a recovery onto a timeline of its own ends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until<'a> {
    /// With what the volume holds.
    Volume,
    /// With the last that the archive has.
    Archive,
    Target(&'a RestoreTarget),
}

/// Everything that decides where recovery ends, for the command line: a user's file may name another
/// end, and Postgres refuses two.
pub(crate) fn recovery_settings(layout: &Layout, until: Until<'_>) -> Vec<(&'static str, String)> {
    let (command, target) = match until {
        Until::Volume => ("false".to_owned(), None),
        Until::Archive => (restore_command(layout), None),
        Until::Target(target) => (restore_command(layout), Some(ends_at(target))),
    };
    let ends = [
        "recovery_target",
        "recovery_target_lsn",
        "recovery_target_name",
        "recovery_target_time",
        "recovery_target_xid",
    ];
    // The one that counts comes last: while one is set, Postgres refuses even to empty another.
    let emptied = ends
        .into_iter()
        .filter(|name| target.is_none_or(|(given, _)| given != *name))
        .map(|name| (name, String::new()));
    let given = target.map(|(name, value)| (name, value.to_owned()));
    let mut settings: Vec<_> = emptied.chain(given).collect();
    settings.extend([
        ("restore_command", command),
        ("recovery_target_timeline", "latest".to_owned()),
        ("recovery_target_inclusive", "on".to_owned()),
        ("recovery_target_action", "promote".to_owned()),
    ]);
    settings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recovery_has_the_end_that_was_asked_for_and_no_other() {
        let layout = Layout::new("/");
        let target = RestoreTarget::Lsn("0/16B3748".into());
        let settings = recovery_settings(&layout, Until::Target(&target));
        let value = |name| {
            let found = settings.iter().find(|(set, _)| *set == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(value("recovery_target_lsn"), Some("0/16B3748"));
        assert_eq!(value("recovery_target_time"), Some(""));
        assert_eq!(
            settings[4].0, "recovery_target_lsn",
            "behind the emptied ones"
        );
        assert_eq!(value("recovery_target_xid"), Some(""));
        assert_eq!(
            value("restore_command"),
            Some("/usr/local/bin/beyond-pg restore %f %p")
        );
        let all = recovery_settings(&layout, Until::Archive);
        assert!(all.contains(&("recovery_target_lsn", String::new())));
        assert!(!all.contains(&("restore_command", "false".to_owned())));
        let none = recovery_settings(&layout, Until::Volume);
        assert!(none.contains(&("restore_command", "false".to_owned())));
        assert!(none.contains(&("recovery_target_lsn", String::new())));
    }
}
