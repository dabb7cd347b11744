//! What the environment says: variables, the roots of the trees, who and where we are.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::net::if_::InterfaceFlags;

use crate::error::{Error, Result};

/// The value of an environment variable, as bytes.
pub fn variable(name: &[u8]) -> Option<Vec<u8>> {
    if name.is_empty() || name.contains(&0) || name.contains(&b'=') {
        return None;
    }
    std::env::var_os(OsStr::from_bytes(name)).map(OsString::into_vec)
}

/// `MONITOR_ROOT`, otherwise /data1/monitor, or /data0/monitor if only that one exists (contract section 1).
/// Fails when it is not a directory: a root that is not mounted must not look like "no models" (defect 24).
pub fn monitor_root() -> Result<PathBuf> {
    match root("MONITOR_ROOT") {
        Some(path) => mounted("MONITOR_ROOT", path),
        None => {
            let candidates = ["/data1/monitor", "/data0/monitor"].map(PathBuf::from);
            let existing = candidates.iter().find(|path| path.is_dir());
            mounted("MONITOR_ROOT", existing.unwrap_or(&candidates[0]).clone())
        }
    }
}

/// `WATCH_ROOT`, otherwise /watch. Fails when it is not a directory.
pub fn watch_root() -> Result<PathBuf> {
    mounted("WATCH_ROOT", root("WATCH_ROOT").unwrap_or_else(|| PathBuf::from("/watch")))
}

/// `WORKSPACE_ROOT`, otherwise the workspace of the containers. Fails when it is not a directory.
pub fn workspace_root() -> Result<PathBuf> {
    let path = root("WORKSPACE_ROOT").unwrap_or_else(|| PathBuf::from(crate::layout::WORKSPACE));
    mounted("WORKSPACE_ROOT", path)
}

/// `SERVICE_ROOT`, otherwise /data1/service. It need not be there: the container engine creates what it mounts.
pub fn service_root() -> PathBuf {
    root("SERVICE_ROOT").unwrap_or_else(|| PathBuf::from(crate::layout::SERVICE_ROOT))
}

fn root(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn mounted(name: &str, path: PathBuf) -> Result<PathBuf> {
    if path.is_dir() {
        return Ok(path);
    }
    let path = path.display();
    Err(Error::failed(format!("{path} is not a directory; mount it, or set {name} to where that tree is")))
}

/// `PORT_REGISTRY`: the file with the table of ports and service ids.
pub fn port_registry() -> Option<PathBuf> {
    root("PORT_REGISTRY")
}

/// `RSYNCD_CONF`, otherwise /etc/rsyncd.conf.
pub fn rsyncd_conf() -> PathBuf {
    root("RSYNCD_CONF").unwrap_or_else(|| PathBuf::from(crate::layout::RSYNCD_CONF))
}

/// The working directory.
pub fn working_directory() -> Result<PathBuf> {
    std::env::current_dir().map_err(|e| Error::io("read the working directory", Path::new("."), &e))
}

/// A path from the root: a relative one begins in the working directory. Links are not followed.
pub fn from_root(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path).map_err(|e| Error::io("find", path, &e))
}

/// The name of the user who runs this program, as `id -un` prints it; the number if it has no name.
pub fn user_name() -> String {
    let uid = nix::unistd::geteuid();
    match nix::unistd::User::from_uid(uid) {
        Ok(Some(user)) => user.name,
        _ => uid.to_string(),
    }
}

/// Who is at work, as `user@host`: the person behind sudo, otherwise the one who logged in, otherwise the process's user. One
/// word without control characters, whatever the environment holds.
pub fn operator() -> String {
    let said = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = ["SUDO_USER", "USER", "LOGNAME"].into_iter().find_map(said).unwrap_or_else(user_name);
    let host =
        nix::unistd::gethostname().map_or_else(|_| "?".into(), |name| name.to_string_lossy().into_owned());
    let word = |text: String| text.replace(|c: char| c.is_whitespace() || c.is_control(), "_");
    format!("{}@{}", word(user), word(host))
}

/// The first address of this host that others can reach: not of a loopback interface (a virtual address of a load balancer
/// may be on it) nor of one that is down, IPv4 before IPv6, in the kernel's order, as
/// the first word of `hostname -I`.
pub fn first_address() -> Option<IpAddr> {
    let addresses: Vec<IpAddr> = nix::ifaddrs::getifaddrs()
        .ok()?
        .filter_map(|interface| {
            let reaches_others = interface.flags.contains(InterfaceFlags::IFF_UP)
                && !interface.flags.contains(InterfaceFlags::IFF_LOOPBACK);
            let address = interface.address.filter(|_| reaches_others)?;
            let ip = address
                .as_sockaddr_in()
                .map(|v4| IpAddr::from(v4.ip()))
                .or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::from(v6.ip())))?;
            (!is_link_local(ip)).then_some(ip)
        })
        .collect();
    addresses.iter().find(|ip| ip.is_ipv4()).or_else(|| addresses.first()).copied()
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(_) => false,
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
