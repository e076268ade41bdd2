//! Git servers on the loopback interface, with the git program behind them. `None` where git is not installed.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

fn git_is_there() -> Option<()> {
    let out = Command::new("git").arg("--version").output().ok()?;
    out.status.success().then_some(())
}

fn accept(each: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let each = Arc::new(each);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let each = each.clone();
            std::thread::spawn(move || each(stream));
        }
    });
    port
}

/// The repository below `base` may belong to anybody.
fn git(base: &Path, args: &[&str]) -> Command {
    let mut git = Command::new("git");
    git.args(args)
        .env("GIT_CONFIG_COUNT", "1")
        .env("GIT_CONFIG_KEY_0", "safe.directory")
        .env("GIT_CONFIG_VALUE_0", "*")
        .env("GIT_PROJECT_ROOT", base)
        .stderr(Stdio::null());
    git
}

/// `git daemon`: gives `git://HOST:PORT`, below which are the repositories in `base`.
pub fn daemon(base: &Path) -> Option<String> {
    git_is_there()?;
    let base = base.to_owned();
    let port = accept(move |stream| {
        let path = format!("--base-path={}", base.display());
        let input = std::os::fd::OwnedFd::from(stream.try_clone().unwrap());
        let output = std::os::fd::OwnedFd::from(stream);
        let served = git(&base, &["daemon", "--inetd", "--export-all", &path])
            .stdin(input)
            .stdout(output)
            .status();
        served.unwrap();
    });
    Some(format!("git://127.0.0.1:{port}"))
}

/// `git http-backend` behind TLS: gives `https://localhost:PORT` and the certificate that a client has to trust.
pub fn https(base: &Path) -> Option<(String, String)> {
    git_is_there()?;
    let base: PathBuf = base.to_owned();
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["localhost".to_string()]).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            rustls::pki_types::PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )
        .unwrap();
    let config = Arc::new(config);
    let port = accept(move |stream| {
        let tls = rustls::ServerConnection::new(config.clone()).unwrap();
        // A client that goes away early is its own affair.
        let mut stream = rustls::StreamOwned::new(tls, stream);
        let _ = answer(&base, &mut stream);
        stream.conn.send_close_notify();
        let _ = stream.flush();
    });
    Some((format!("https://localhost:{port}"), certificate.pem()))
}

/// One request, then the connection is closed.
fn answer(base: &Path, stream: impl Read + Write) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    stream.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut backend = git(base, &["http-backend"]);
    backend
        .env("GIT_HTTP_EXPORT_ALL", "1")
        .env("REQUEST_METHOD", method)
        .env("PATH_INFO", path)
        .env("QUERY_STRING", query);
    let (mut length, mut chunked) = (0, false);
    loop {
        let mut header = String::new();
        stream.read_line(&mut header)?;
        let Some((name, value)) = header.trim().split_once(':') else {
            break;
        };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "transfer-encoding" => chunked = value == "chunked",
            "content-type" => drop(backend.env("CONTENT_TYPE", value)),
            "git-protocol" => drop(backend.env("GIT_PROTOCOL", value)),
            "content-encoding" => drop(backend.env("HTTP_CONTENT_ENCODING", value)),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    if chunked {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size)?;
            let size = usize::from_str_radix(size.trim(), 16).unwrap_or(0);
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk)?;
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        stream.read_exact(&mut body)?;
    }
    let mut child = backend
        .env("CONTENT_LENGTH", body.len().to_string())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut input = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || input.write_all(&body));
    let mut out = Vec::new();
    child.stdout.take().unwrap().read_to_end(&mut out)?;
    child.wait()?;
    writer.join().unwrap()?;
    let text = String::from_utf8_lossy(&out);
    let status = text
        .strip_prefix("Status: ")
        .map_or("200 OK", |rest| rest.lines().next().unwrap_or("500 Error"));
    let stream = stream.get_mut();
    write!(stream, "HTTP/1.1 {status}\r\nConnection: close\r\n")?;
    stream.write_all(&out)?;
    stream.flush()
}

/// `sshd` with keys of its own: a directory that has them, and what runs git over it. One process for each connection.
pub struct Ssh {
    /// `ssh://USER@127.0.0.1:PORT`, below which are the paths of this machine.
    pub url: String,
    /// The ssh command that has the user's key and knows the server's.
    pub command: String,
}

/// `None` where sshd is not installed.
pub fn ssh(keys: &Path) -> Option<Ssh> {
    git_is_there()?;
    let sshd = ["/usr/sbin/sshd", "/usr/bin/sshd"]
        .into_iter()
        .find(|path| Path::new(path).exists())?;
    if nix::unistd::geteuid().is_root() {
        // Where sshd of Debian changes its root to before a user is known; an installed service makes it at its start.
        std::fs::create_dir_all("/run/sshd").ok()?;
    }
    for name in ["host", "user"] {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(keys.join(name))
            .status()
            .ok()?;
        assert!(made.success());
    }
    let at = keys.display();
    let config = format!(
        "HostKey {at}/host\nAuthorizedKeysFile {at}/user.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n\
PermitRootLogin prohibit-password\nPidFile none\n"
    );
    std::fs::write(keys.join("sshd_config"), config).unwrap();
    let log = keys.join("sshd.log");
    let config = keys.join("sshd_config");
    let port = accept(move |stream| {
        let input = std::os::fd::OwnedFd::from(stream.try_clone().unwrap());
        let output = std::os::fd::OwnedFd::from(stream);
        let served = Command::new(sshd)
            .args(["-i", "-E"])
            .arg(&log)
            .arg("-f")
            .arg(&config)
            .stdin(input)
            .stdout(output)
            .stderr(Stdio::null())
            .status();
        served.unwrap();
    });
    let known = std::fs::read_to_string(keys.join("host.pub")).unwrap();
    std::fs::write(
        keys.join("known_hosts"),
        format!("[127.0.0.1]:{port} {known}"),
    )
    .unwrap();
    let user = Command::new("id").arg("-un").output().ok()?;
    let user = String::from_utf8_lossy(&user.stdout).trim().to_owned();
    Some(Ssh {
        url: format!("ssh://{user}@127.0.0.1:{port}"),
        command: format!(
            "ssh -F none -oBatchMode=yes -oIdentitiesOnly=yes -oStrictHostKeyChecking=yes -oUserKnownHostsFile={at}/known_hosts -i {at}/user"
        ),
    })
}
