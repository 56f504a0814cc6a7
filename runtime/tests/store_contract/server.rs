//! A scratch Postgres for this test binary: one server, a database for each test.

use std::{
    fs,
    os::unix::{fs::chown, process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use sqlx::{Connection, PgConnection};

static SERVER: OnceLock<Server> = OnceLock::new();
static DATABASES: AtomicU32 = AtomicU32::new(0);

struct Server {
    dir: PathBuf,
}

/// Ends the server with this process: the shell waits for the end of its input, which is our pipe.
const GUARD: &str =
    r#"postgres "$@" & pid=$!; cat >/dev/null; kill -QUIT $pid; wait $pid; rm -rf "$SCRATCH""#;

impl Server {
    fn start() -> Self {
        let dir = std::env::temp_dir().join(format!("niyanta-store-{}", std::process::id()));
        let _ = fs::remove_dir_all(&dir);
        fs::create_dir_all(&dir).unwrap();
        let owner = rustix::process::geteuid().is_root().then(postgres_user);
        if let Some((uid, gid)) = owner {
            chown(&dir, Some(uid), Some(gid)).unwrap();
        }
        let run = |mut command: Command| {
            if let Some((uid, gid)) = owner {
                command.uid(uid).gid(gid);
            }
            command.current_dir("/").env("PATH", search_path());
            command.env("SCRATCH", &dir);
            command
        };
        let mut initdb = Command::new("/bin/sh");
        initdb.args([
            "-c",
            r#"exec initdb -A trust -U postgres --no-sync --no-locale -E UTF8 "$SCRATCH/data""#,
        ]);
        let output = run(initdb).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        let mut postgres = Command::new("/bin/sh");
        postgres
            .args(["-c", GUARD, "postgres", "-D"])
            .arg(dir.join("data"));
        postgres.arg("-k").arg(&dir);
        for setting in [
            "listen_addresses=",
            "fsync=off",
            "full_page_writes=off",
            "synchronous_commit=off",
            "max_connections=400",
        ] {
            postgres.args(["-c", setting]);
        }
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut postgres = run(postgres);
        postgres
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log);
        // Its pipe closes when this process ends, however it ends: a static is never dropped.
        let child: Child = postgres.spawn().unwrap();
        std::mem::forget(child);
        Self { dir }
    }

    fn url(&self, database: &str) -> String {
        format!(
            "postgres://postgres@localhost/{database}?host={}",
            self.dir.display()
        )
    }
}

fn postgres_user() -> (u32, u32) {
    let users = fs::read_to_string("/etc/passwd").unwrap();
    let line = users
        .lines()
        .find(|line| line.starts_with("postgres:"))
        .unwrap();
    let mut fields = line.split(':').skip(2).map(|field| field.parse().unwrap());
    (fields.next().unwrap(), fields.next().unwrap())
}

/// PATH, and where distributions put the server's programs.
fn search_path() -> String {
    let mut paths = std::env::var("PATH").unwrap_or_default();
    for version in (13..20).rev() {
        let bin = format!("/usr/lib/postgresql/{version}/bin");
        if Path::new(&bin).is_dir() {
            paths = format!("{paths}:{bin}");
        }
    }
    paths
}

/// The URL of a new, empty database.
pub(crate) async fn create_database() -> String {
    let server = SERVER.get_or_init(Server::start);
    let name = format!("d{}", DATABASES.fetch_add(1, Ordering::Relaxed));
    let mut conn = loop {
        match PgConnection::connect(&server.url("postgres")).await {
            Ok(conn) => break conn,
            // Not up yet.
            Err(sqlx::Error::Io(_) | sqlx::Error::Database(_)) => tokio::task::yield_now().await,
            Err(error) => panic!("{error}"),
        }
    };
    let create = sqlx::AssertSqlSafe(format!("create database {name}"));
    sqlx::query(create).execute(&mut conn).await.unwrap();
    conn.close().await.unwrap();
    server.url(&name)
}
