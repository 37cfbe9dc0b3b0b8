//! What each source of a certificate has, as it lies there now. Looks, decides nothing.

use std::fs;
use std::io;
use std::path::Path;

use crate::layout::Layout;
use crate::tls::pair::{self, Content, Files, Part};
use crate::tls::source::{Installed, Offer, TlsFacts, TlsSource};

/// The largest bundle of public CAs is a quarter of this.
const LONGEST: u64 = 1 << 20;

/// Looks at every source. A file that cannot be read is a flaw of its source, not an error: the
/// next source may do.
pub(crate) fn observe(layout: &Layout, now: i64) -> TlsFacts {
    let installed = installed(layout);
    let volume = || given(layout, TlsSource::UserManaged);
    let (user, own) = if layout.user_managed().exists() {
        // A sentinel without files is a flaw like any other: somebody meant something.
        let user = offered(volume());
        (user, emergency(installed.as_ref()))
    } else {
        let files = Files {
            ca: Content::Absent,
            ..volume()
        };
        (Offer::Nothing, unless_absent(files))
    };
    TlsFacts {
        user,
        platform: unless_absent(given(layout, TlsSource::Platform)),
        own,
        installed,
        now,
    }
}

/// While the user manages, one of ours exists at most as what is installed.
fn emergency(installed: Option<&Installed>) -> Offer {
    match installed {
        Some(Installed {
            source: TlsSource::SelfSigned,
            bundle,
        }) => Offer::Fit(bundle.clone()),
        _ => Offer::Nothing,
    }
}

/// Without a certificate there is no offer (I-004), whatever lies beside it: a key comes first when
/// files are delivered one by one.
fn unless_absent(files: Files) -> Offer {
    if files.certificate == Content::Absent {
        return Offer::Nothing;
    }
    offered(files)
}

fn offered(files: Files) -> Offer {
    match pair::examine(files) {
        Ok(bundle) => Offer::Fit(bundle),
        Err(flaw) => Offer::Flawed(flaw),
    }
}

fn given(layout: &Layout, source: TlsSource) -> Files {
    let folder = source.folder(layout);
    let file = |part| content(&folder.join(source.file_name(part)));
    Files {
        certificate: file(Part::Certificate),
        key: file(Part::Key),
        ca: file(Part::Ca),
    }
}

/// What is not whole there counts as nothing: it is installed anew.
fn installed(layout: &Layout) -> Option<Installed> {
    let ca = layout.installed_ca();
    let stands_in = fs::symlink_metadata(&ca).ok()?.is_symlink();
    let files = Files {
        certificate: content(&layout.installed_cert()),
        key: content(&layout.installed_key()),
        ca: if stands_in {
            Content::Absent
        } else {
            content(&ca)
        },
    };
    let bundle = pair::examine(files).ok()?;
    let word = fs::read_to_string(layout.installed_source()).ok()?;
    let source = TlsSource::ALL
        .into_iter()
        .find(|source| source.word() == word.trim())?;
    Some(Installed { source, bundle })
}

fn content(path: &Path) -> Content {
    // Looked at before it is opened: opening a pipe would wait for somebody to write.
    let read = fs::metadata(path).and_then(|meta| {
        if !meta.is_file() {
            return Err(io::Error::other("it is no file"));
        }
        if meta.len() > LONGEST {
            return Err(io::Error::other(format!("it has {} bytes", meta.len())));
        }
        fs::read(path)
    });
    match read {
        Ok(bytes) => Content::Bytes(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Content::Absent,
        Err(error) => Content::Unreadable(error.to_string()),
    }
}
