//! What Postgres reads instead of `postgresql.conf` when it refuses what its user wrote: the image's
//! files where they are, the user's as they were when they worked (`last_good`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::guc::Fragment;
use super::{ConfFile, hba, image_files_in_confd};
use crate::layout::Layout;

/// `confd` are the files of `conf.d`, `good` those of the user that worked.
pub(crate) fn last_good<'n>(
    layout: &Layout,
    confd: &[String],
    good: impl IntoIterator<Item = &'n String>,
) -> String {
    let ours = image_files_in_confd();
    let image = confd
        .iter()
        .filter(|name| ours.contains(&name.as_str()))
        .map(|name| (name, layout.confd()));
    let user = good.into_iter().map(|name| (name, layout.last_good_dir()));
    // By name, as include_dir reads them: the later one wins.
    let files: BTreeMap<&String, PathBuf> = image.chain(user).collect();

    let mut conf = Fragment::new("The last configuration that worked (contract 8).");
    conf.section("Where this image keeps things.")
        .set("data_directory", layout.pgdata().display().to_string())
        .set(
            "hba_file",
            layout
                .last_good_dir()
                .join(ConfFile::Hba.name())
                .display()
                .to_string(),
        )
        .set(
            "ident_file",
            ConfFile::Ident.path(layout).display().to_string(),
        )
        .section("The image's files, and the user's as they were when they worked.");
    for (name, folder) in files {
        conf.set("include", folder.join(name).display().to_string());
    }
    conf.section("What a volume that is nearly full asks for.")
        .set(
            "include_if_exists",
            layout.disk_conf().display().to_string(),
        );
    conf.into_text()
}

/// `pg_hba.conf` with the user's lines as they were when they worked.
pub(crate) fn last_good_hba(layout: &Layout) -> String {
    hba::hba(&layout.last_good_dir().join(ConfFile::UserHba99.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_users_files_come_from_the_copies_and_keep_their_place() {
        let confd = [
            "00-beyond.conf",
            "06-tls.conf",
            "50-mine.conf",
            "99-user.conf",
        ];
        let good = ["50-mine.conf", "99-user.conf"].map(str::to_owned);
        let conf = last_good(&Layout::new("/"), &confd.map(str::to_owned), &good);
        insta::assert_snapshot!(conf, @r"
        # The last configuration that worked (contract 8).
        # Rewritten at every boot: your own settings go to 99-user.conf.

        # Where this image keeps things.
        data_directory = '/var/lib/postgresql/18/main'
        hba_file = '/run/beyond-pg/last-good/pg_hba.conf'
        ident_file = '/etc/postgresql/18/main/pg_ident.conf'

        # The image's files, and the user's as they were when they worked.
        include = '/var/lib/postgresql/18/main/conf.d/00-beyond.conf'
        include = '/var/lib/postgresql/18/main/conf.d/06-tls.conf'
        include = '/run/beyond-pg/last-good/50-mine.conf'
        include = '/run/beyond-pg/last-good/99-user.conf'

        # What a volume that is nearly full asks for.
        include_if_exists = '/run/beyond-pg/disk.conf'
        ");
    }
}
