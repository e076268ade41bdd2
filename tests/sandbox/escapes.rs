//! Escape attempts as one list: what a build tried, and what the kernel said. Run it with `--nocapture` to read the answers.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;

use super::{Place, out};

/// What is tried (in `bash`, inside the sandbox), and for whom it would be a way out. `SECRET` and the like are filled in.
const TRIES: &[(&str, &str)] = &[
    // The host's homes, keys, sockets and other slots.
    ("read the keys of the host", "cat STATE/keys/host.key"),
    (
        "read another slot's sources",
        "cat STATE/attempts/99.1/sourcedir/secret",
    ),
    (
        "write into another slot",
        "echo x > STATE/attempts/99.1/build/x",
    ),
    ("list the state directory", "ls STATE"),
    (
        "talk to the admin socket",
        "bash -c 'exec 3<>STATE/admin.sock'",
    ),
    ("list the homes", "ls /root/. /home/*/."),
    ("read the passwords", "cat /etc/shadow"),
    ("read a file of the host's /tmp", "cat OUTSIDE"),
    // Mounts.
    ("mount a file system", "mount -t tmpfs none /mnt"),
    ("mount a device", "mount -t ext4 /dev/vda /mnt"),
    ("mount the host's processes", "mount -t proc none /mnt"),
    ("make the packages writable", "mount -o remount,rw /usr"),
    ("take the packages away", "umount -l /usr"),
    ("move the root", "pivot_root . ."),
    ("change the root", "chroot / true"),
    // Names of its own, in which it would be root again.
    ("make a user namespace", "unshare -U true"),
    ("make a mount namespace", "unshare -m true"),
    ("enter another namespace", "nsenter -t 1 -m true"),
    // Other processes.
    (
        "kill what holds it",
        "kill -9 1; sleep 0.1; test ! -e /proc/1",
    ),
    (
        "trace what holds it",
        "python3 -c 'import ctypes; exit(0 if ctypes.CDLL(None, use_errno=True).ptrace(16, 1, 0, 0) == 0 else 1)' || gdb -p 1 -batch",
    ),
    ("read the memory of what holds it", "head -c 1 /proc/1/mem"),
    (
        "read its environment",
        "tr '\\0' '\\n' < /proc/1/environ | grep .",
    ),
    (
        "leave by the root of another process",
        "ls /proc/1/root/etc/shadow",
    ),
    (
        "leave by the directory of another process",
        "ls /proc/1/cwd/",
    ),
    (
        "leave by an open file of another process",
        "cat /proc/1/fd/0 < /dev/null",
    ),
    (
        "see processes of the host",
        "test $(ls -d /proc/[0-9]* | wc -l) -gt 20",
    ),
    // Links.
    (
        "follow a link out of its directory",
        "ln -s /../../../../STATE/keys/host.key l && cat l",
    ),
    (
        "follow a link through /proc",
        "ln -s /proc/self/root/../STATE/keys/host.key m && cat m",
    ),
    (
        "link a file of the packages",
        "ln /usr/bin/bash ./b && echo x >> b",
    ),
    // Its layers and its recipe.
    ("write into a package", "echo x > /usr/bin/x"),
    ("change a package", "chmod 777 /usr/bin/env"),
    (
        "delete from a package",
        "rm -f /usr/bin/env && test ! -e /usr/bin/env",
    ),
    ("write into its recipe", "echo x > /mason/recipe/x"),
    // Devices and the kernel.
    ("make a device", "mknod /tmp/sda b 8 0"),
    ("read the memory of the machine", "dd if=/dev/mem count=1"),
    ("read a disk", "head -c 1 /dev/vda || head -c 1 /dev/sda"),
    ("set a sysctl", "echo x > /proc/sys/kernel/core_pattern"),
    ("restart the machine", "echo b > /proc/sysrq-trigger"),
    ("read the kernel's keys", "keyctl show @s"),
    ("set the clock", "date -s 2001-01-01"),
    ("set the host's name", "hostname other"),
    ("raise its own limits", "ulimit -Hu 1 && ulimit -Hu 1000000"),
    ("make a control group", "mkdir /sys/fs/cgroup/mine"),
    (
        "leave its control group",
        "echo $$ > /sys/fs/cgroup/cgroup.procs",
    ),
    ("type into the host's terminal", ": > /dev/tty"),
    // The network.
    (
        "reach the network",
        "timeout 2 bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'",
    ),
    (
        "reach the host by the loopback",
        "timeout 2 bash -c 'exec 3<>/dev/tcp/127.0.0.1/PORT'",
    ),
    (
        "see the host's interfaces",
        "ls /sys/class/net | grep -v '^lo$' | grep .",
    ),
];

#[tokio::test]
async fn no_way_out_is_open_and_the_kernel_says_why() {
    let place = Place::new();
    let state = place.path("state-of-the-host");
    let lay = |path: &str, text: &str| {
        let path = state.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        // Nothing but the sandbox itself stands between a build and these.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    };
    lay("keys/host.key", "the secret");
    lay("attempts/99.1/sourcedir/secret", "the secret");
    lay("attempts/99.1/build/x", "");
    let _socket = UnixListener::bind(state.join("admin.sock")).unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let mut script = String::from("cd /tmp\n");
    for (number, (_, attempt)) in TRIES.iter().enumerate() {
        let attempt = attempt
            .replace("STATE", state.to_str().unwrap())
            .replace("OUTSIDE", outside.path().to_str().unwrap())
            .replace("PORT", &port);
        // Standard input is empty: nothing may wait for a person.
        script += &format!(
            "said=$( ( {attempt} ) 2>&1 </dev/null ); code=$?; said=${{said%%$'\\n'*}}; echo \"{number} $code ${{said##*: }}\"\n"
        );
    }
    script += "echo all of it\n";
    let log = out(place.spec(), &script).await;
    assert!(log.contains("all of it"), "{log}");
    let mut open = Vec::new();
    for (number, (what, attempt)) in TRIES.iter().enumerate() {
        let line = log
            .lines()
            .find_map(|line| line.strip_prefix(&format!("{number} ")));
        let (code, said) = line.unwrap_or_default().split_once(' ').unwrap_or_default();
        println!("{what:45} {said} ({code})");
        if code == "0" || code.is_empty() {
            open.push(format!("{what} ({attempt}): {said:?}"));
        }
    }
    assert!(open.is_empty(), "{open:#?}\n{log}");
    assert!(!log.contains("the secret"), "{log}");
}
