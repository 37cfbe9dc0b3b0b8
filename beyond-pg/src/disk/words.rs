//! What an operator is told: in the log once a stage, in `health` for as long as it lasts.

use super::Volume;
use super::ladder::{READ_ONLY, READ_ONLY_ENDS, Stage};

/// What is not as it should be, what follows from it and what to do; `None` when all is well.
pub(super) fn concern(stage: Stage, volume: &Volume) -> Option<String> {
    let fill = fill(volume);
    match stage {
        Stage::Fine => None,
        Stage::Filling => Some(format!(
            "{fill}. At {READ_ONLY} % transactions become read-only by default.\n\
             HINT: delete what is not needed, or give the machine a larger volume"
        )),
        Stage::ReadOnly => Some(format!(
            "{fill}. Transactions are read-only by default until less than {READ_ONLY_ENDS} % is used.\n\
             HINT: make room with BEGIN READ WRITE; TRUNCATE …; COMMIT, or give the machine a larger volume"
        )),
        Stage::Full => Some(format!(
            "{fill}. Transactions are read-only by default until less than {READ_ONLY_ENDS} % is used, \
             and statements that need room fail{}.\n\
             HINT: make room with BEGIN READ WRITE; TRUNCATE …; COMMIT, or give the machine a larger volume",
            reserve(volume)
        )),
    }
}

/// What is over.
pub(super) fn relief(stage: Stage, volume: &Volume) -> String {
    let fill = fill(volume);
    match stage {
        Stage::Fine => format!("{fill}: there is room again"),
        Stage::Filling => format!("{fill}: transactions are read-write again"),
        Stage::ReadOnly | Stage::Full => {
            format!("{fill}: there is room for Postgres' own files again, and little else")
        }
    }
}

fn fill(volume: &Volume) -> String {
    format!(
        "the volume is {} % full, {} MB of {} MB are left",
        volume.used_percent(),
        volume.room() >> 20,
        (volume.used + volume.available) >> 20
    )
}

fn reserve(volume: &Volume) -> &'static str {
    match (volume.wanted_reserve(), volume.reserve) {
        (0, _) => "",
        (_, 0) => {
            "; the reserve file was given up so that Postgres can start, and its last part so that sessions get in"
        }
        _ if volume.kept_for_a_start() == 0 => {
            "; the reserve file was given up so that Postgres can start, but for a last part for sessions"
        }
        (whole, part) if part < whole => {
            "; part of the reserve file was given up so that sessions get in"
        }
        _ => "; a reserve file is kept back for a start of Postgres",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(stage: Stage, left_mb: u64, reserve_mb: u64) -> String {
        let volume = Volume {
            total: 1600 << 20,
            used: (1600 - left_mb) << 20,
            available: left_mb << 20,
            reserve: reserve_mb << 20,
        };
        concern(stage, &volume).unwrap_or_else(|| relief(stage, &volume))
    }

    #[test]
    fn an_operator_is_told_how_full_what_follows_and_what_to_do() {
        insta::assert_snapshot!(
            [
                words(Stage::Filling, 320, 66),
                words(Stage::ReadOnly, 100, 66),
                words(Stage::Full, 10, 66),
                words(Stage::Full, 10, 62),
                words(Stage::Full, 64, 2),
                words(Stage::Full, 2, 0),
                words(Stage::Fine, 800, 66),
            ].join("\n---\n"),
            @"
        the volume is 80 % full, 320 MB of 1600 MB are left. At 90 % transactions become read-only by default.
        HINT: delete what is not needed, or give the machine a larger volume
        ---
        the volume is 93 % full, 100 MB of 1600 MB are left. Transactions are read-only by default until less than 85 % is used.
        HINT: make room with BEGIN READ WRITE; TRUNCATE …; COMMIT, or give the machine a larger volume
        ---
        the volume is 99 % full, 10 MB of 1600 MB are left. Transactions are read-only by default until less than 85 % is used, and statements that need room fail; a reserve file is kept back for a start of Postgres.
        HINT: make room with BEGIN READ WRITE; TRUNCATE …; COMMIT, or give the machine a larger volume
        ---
        the volume is 99 % full, 6 MB of 1600 MB are left. Transactions are read-only by default until less than 85 % is used, and statements that need room fail; part of the reserve file was given up so that sessions get in.
        HINT: make room with BEGIN READ WRITE; TRUNCATE …; COMMIT, or give the machine a larger volume
        ---
        the volume is 100 % full, 0 MB of 1600 MB are left. Transactions are read-only by default until less than 85 % is used, and statements that need room fail; the reserve file was given up so that Postgres can start, but for a last part for sessions.
        HINT: make room with BEGIN READ WRITE; TRUNCATE …; COMMIT, or give the machine a larger volume
        ---
        the volume is 100 % full, 0 MB of 1600 MB are left. Transactions are read-only by default until less than 85 % is used, and statements that need room fail; the reserve file was given up so that Postgres can start, and its last part so that sessions get in.
        HINT: make room with BEGIN READ WRITE; TRUNCATE …; COMMIT, or give the machine a larger volume
        ---
        the volume is 50 % full, 800 MB of 1600 MB are left: there is room again
        "
        );
    }
}
