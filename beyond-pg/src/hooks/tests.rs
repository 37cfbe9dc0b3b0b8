#![expect(clippy::disallowed_methods, reason = "the tests lay hooks out")]

use super::*;
use crate::fx::clock;
use crate::metadata::{Metadata, Source};

struct Image {
    _dir: tempfile::TempDir,
    layout: Layout,
}

impl Image {
    fn with(hooks: &[(&str, &str)]) -> Image {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        let folder = layout.hooks(Stage::PreStart);
        fs::create_dir_all(&folder).unwrap();
        for (name, script) in hooks {
            let path = folder.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Image { _dir: dir, layout }
    }

    fn hooks(&self, deadline: Duration) -> Hooks {
        let values = [
            ("POSTGRES_PASSWORD", "not for hooks"),
            ("BEYOND_INSTANCE_ID", "db-1"),
        ];
        let document = Metadata {
            source: Source::Mmds,
            values: values
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            problems: Vec::new(),
        };
        Hooks::new(
            &self.layout,
            &Settings::from_metadata(&document).unwrap().0,
            deadline,
        )
    }

    async fn run(&self, deadline: Duration) -> Result<(), HookError> {
        self.hooks(deadline).run_all(Stage::PreStart).await
    }
}

#[tokio::test]
async fn hooks_run_in_order_and_the_first_failure_ends_it_with_its_name_and_last_words() {
    let image = Image::with(&[
        ("10-first", "echo first >>$PGDATA.said"),
        ("20-second", "echo out; echo err >&2; exit 3"),
        ("30-third", "echo third >>$PGDATA.said"),
        ("15-off.disabled", "exit 9"),
    ]);
    let pgdata = image.layout.pgdata();
    fs::create_dir_all(&pgdata).unwrap();
    let error = image.run(DEADLINE).await.unwrap_err().to_string();
    let (head, tail) = error.split_once('\n').unwrap();
    assert_eq!(
        head,
        "hook pre-start.d/20-second ended with exit status: 3; its last lines:"
    );
    let mut tail: Vec<_> = tail.lines().collect();
    tail.sort_unstable();
    assert_eq!(tail, ["err", "out"]);
    let said = fs::read_to_string(pgdata.with_extension("said")).unwrap();
    assert_eq!(said, "first\n");
}

#[tokio::test]
async fn the_environment_is_what_is_documented_and_holds_no_secret() {
    let image = Image::with(&[("10-env", "env | sort; exit 1")]);
    let error = image.run(DEADLINE).await.unwrap_err().to_string();
    let keys: Vec<_> = error
        .lines()
        .skip(1)
        .filter_map(|line| Some(line.split_once('=')?.0))
        // The shell's own.
        .filter(|key| !["PWD", "SHLVL", "_", "OLDPWD"].contains(key))
        .collect();
    assert_eq!(
        keys,
        [
            "BEYOND_HOOK",
            "BEYOND_INSTANCE_ID",
            "BEYOND_PG_TIER",
            "LC_ALL",
            "PATH",
            "PGDATA",
            "PGDATABASE",
            "PGHOST",
            "PGPORT",
            "PGUSER"
        ]
    );
    assert!(!error.contains("not for hooks"), "{error}");
}

#[tokio::test]
async fn a_hook_that_hangs_is_ended_with_all_that_it_started() {
    let image = Image::with(&[("10-hangs", "echo $$; sleep 600 & echo $!; sleep 600")]);
    let error = image.run(Duration::from_millis(300)).await.unwrap_err();
    let HookError::TimedOut { tail, .. } = error else {
        panic!("{error}");
    };
    for pid in tail.lines() {
        let gone = async {
            while is_alive(pid) {
                clock::pause(Duration::from_millis(5)).await;
            }
        };
        let gone = clock::within(Duration::from_secs(30), gone).await;
        assert!(gone.is_some(), "{pid} lives on");
    }
}

/// A zombie that its new parent has yet to reap is dead.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[tokio::test]
async fn what_a_hook_leaves_running_does_not_hold_up_the_boot() {
    let image = Image::with(&[(
        "10-leaves",
        "(trap '' HUP; sleep 600) & setsid sleep 2 & exit 0",
    )]);
    image.run(DEADLINE).await.unwrap();
}

#[tokio::test]
async fn a_hook_without_an_interpreter_says_so() {
    let image = Image::with(&[]);
    let path = image.layout.hooks(Stage::PreStart).join("10-odd");
    fs::write(&path, "#!/no/such/interpreter\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let error = image.run(DEADLINE).await.unwrap_err().to_string();
    assert!(
        error.starts_with("hook pre-start.d/10-odd cannot be run\nHINT: "),
        "{error}"
    );
}

#[test]
fn a_file_that_is_not_executable_is_no_hook() {
    let image = Image::with(&[("10-on", "exit 0"), ("20-off", "exit 0")]);
    let folder = image.layout.hooks(Stage::PreStart);
    fs::set_permissions(folder.join("20-off"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::create_dir(folder.join("30-folder")).unwrap();
    let names: Vec<_> = of(&image.layout, Stage::PreStart).unwrap();
    assert_eq!(names.len(), 1, "{names:?}");
    assert!(of(&image.layout, Stage::PreFork).unwrap().is_empty());
}
