//! The `docker run` of a service: which image, which mounts.

use crate::error::{Error, Result};
use crate::layout::{ContainerHost, WORKSPACE};
use crate::names::{ImageName, ImageTag, ModelName, Port, ServiceId, shown as shown_bytes};
use crate::time::Seconds;

/// legacy: dockerrun.sh:26
const IMAGE_PREFIX: &str = "registry.intra.weibo.com/weibo_rd_algorithmplatform";

/// legacy: dockerrun.sh:19-23, in this order
const MOUNTS: [&str; 5] = ["plugin/${service}", "log", "temp", "bin/etc", "watch/log:/watch/log"];

/// How long a service may take by default: its poller fetches the model at the next minute, and then it is loaded.
const TIMEOUT: Seconds = Seconds(300);

/// A container that is to be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// VERSION.
    pub tag: ImageTag,
    /// DOCKER_NAME.
    pub image: ImageName,
    /// PORT.
    pub port: Port,
    /// SERVICE_NAME.
    pub service: ModelName,
    /// What the table of ports calls it, if that was said.
    pub service_id: Option<ServiceId>,
}

/// What an env.sh, or the options, say about the site.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Given {
    /// The image's name up to DOCKER_NAME.
    pub image_prefix: Option<ImagePrefix>,
    /// All mounts; none where nothing is said.
    pub mounts: Vec<Mount>,
    /// How long the service may take to accept connections.
    pub timeout: Option<Seconds>,
}

/// The site's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    root: String,
    image_prefix: ImagePrefix,
    mounts: Vec<Mount>,
    /// How long the service may take to accept connections; 0: nobody looks.
    pub timeout: Seconds,
}

impl Settings {
    /// What the options say, otherwise the file, otherwise as the script. Fails (exit 2) where the engine could not be told
    /// the root.
    pub fn new(host: &ContainerHost, options: Given, file: Given) -> Result<Settings> {
        let root = host.root.to_str().filter(|root| !root.contains(':'));
        let root = root.ok_or_else(|| {
            let root = host.root.display();
            Error::usage(format!(
                "SERVICE_ROOT: {root} cannot be mounted; use a path of UTF-8 without a colon"
            ))
        })?;
        let mut mounts = if options.mounts.is_empty() { file.mounts } else { options.mounts };
        if mounts.is_empty() {
            mounts = MOUNTS.iter().map(|mount| Mount::parse(mount.as_bytes())).collect::<Result<_>>()?;
        }
        Ok(Settings {
            root: root.to_owned(),
            image_prefix: options
                .image_prefix
                .or(file.image_prefix)
                .unwrap_or_else(|| ImagePrefix(IMAGE_PREFIX.to_owned())),
            mounts,
            timeout: options.timeout.or(file.timeout).unwrap_or(TIMEOUT),
        })
    }

    /// The name of an image, without its version.
    pub fn image(&self, name: &ImageName) -> String {
        format!("{}/{name}", self.image_prefix.0)
    }

    /// The command line that starts a container.
    pub fn docker_run(&self, start: &Start) -> Vec<String> {
        let mut words = ["docker", "run", "-d", "--net=host"].map(str::to_owned).to_vec();
        for mount in &self.mounts {
            words.extend(["-v".to_owned(), mount.volume(&self.root, start)]);
        }
        for variable in
            [format!("ENV_SERVICE_NAME={}", start.service), format!("ENV_SERVICE_PORT={}", start.port)]
        {
            words.extend(["-e".to_owned(), variable]);
        }
        words.push(format!("{}:{}", self.image(&start.image), start.tag));
        words
    }
}

/// A command line as it can be pasted into a shell.
pub fn shown(words: &[String]) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"_-./:=,@%+".contains(&b);
    let quoted = |word: &String| match !word.is_empty() && word.bytes().all(is_plain) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    words.iter().map(quoted).collect::<Vec<_>>().join(" ")
}

/// What stands before an image's name: a registry, and mostly a path within it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePrefix(String);

impl ImagePrefix {
    /// Parses a prefix. Fails (exit 2) on what is no beginning of an image's name.
    pub fn parse(bytes: &[u8]) -> Result<ImagePrefix> {
        let is_good = |b: &u8| b.is_ascii_alphanumeric() || b"._:/-".contains(b);
        let text = std::str::from_utf8(bytes).ok().filter(|text| {
            let ends = [text.chars().next(), text.chars().last()];
            ends.iter().all(|end| end.is_some_and(|c| c.is_ascii_alphanumeric())) && !text.contains("//")
        });
        match text.filter(|_| bytes.iter().all(is_good)) {
            Some(text) => Ok(ImagePrefix(text.to_owned())),
            None => Err(Error::usage(format!(
                "{} is not the beginning of an image's name; write HOST/PATH, without https:// and a last /",
                shown_bytes(bytes)
            ))),
        }
    }
}

/// `FROM:TO` or `FROM:TO:OPTIONS`, or a name that is both: a directory of the host, below the service's own unless it begins
/// with a `/`, and where the container sees it, below its workspace unless it begins with a `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    from: String,
    to: String,
    options: Option<String>,
}

impl Mount {
    /// Parses a mount; `${service}` and `${port}` in it are replaced when it is used. Fails (exit 2) on anything else.
    pub fn parse(bytes: &[u8]) -> Result<Mount> {
        let wrong = || {
            Error::usage(format!(
                "{} is not a mount; write FROM:TO (a directory of this host, and where the container sees it)",
                shown_bytes(bytes)
            ))
        };
        let text = std::str::from_utf8(bytes).map_err(|_| wrong())?;
        let parts: Vec<&str> = text.split(':').collect();
        let is_wrong = |c: char| c.is_control() || c.is_whitespace();
        if parts.iter().any(|part| part.is_empty() || part.contains(is_wrong)) {
            return Err(wrong());
        }
        let (from, to, options) = match parts.as_slice() {
            [both] => (*both, *both, None),
            [from, to] => (*from, *to, None),
            [from, to, options] => (*from, *to, Some((*options).to_owned())),
            _ => return Err(wrong()),
        };
        Ok(Mount { from: from.to_owned(), to: to.to_owned(), options })
    }

    /// The value of the engine's `-v`.
    fn volume(&self, root: &str, start: &Start) -> String {
        let below = |directory: &str, path: &str| match path.starts_with('/') {
            true => path.to_owned(),
            false => format!("{directory}/{path}"),
        };
        let (port, service) = (start.port.to_string(), start.service.as_str());
        let named = |path: &str| path.replace("${port}", &port).replace("${service}", service);
        let from = below(&format!("{root}/{port}"), &named(&self.from));
        let options = self.options.as_ref().map(|options| format!(":{options}")).unwrap_or_default();
        format!("{from}:{}{options}", below(WORKSPACE, &named(&self.to)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> Start {
        Start {
            tag: ImageTag::parse(b"v1").unwrap(),
            image: ImageName::parse(b"image").unwrap(),
            port: Port::parse(b"17019").unwrap(),
            service: ModelName::parse(b"m").unwrap(),
            service_id: None,
        }
    }

    #[test]
    fn a_mount_is_below_the_services_directory_and_the_workspace_unless_it_says_otherwise() {
        for (mount, volume) in [
            ("log", "/r/17019/log:/w/log"),
            ("plugin/${service}:p", "/r/17019/plugin/m:/w/p"),
            ("/etc/localtime:/etc/localtime:ro", "/etc/localtime:/etc/localtime:ro"),
            ("/var/${port}:x", "/var/17019:/w/x"),
        ] {
            let shown = Mount::parse(mount.as_bytes()).unwrap().volume("/r", &start());
            assert_eq!(shown.replace(WORKSPACE, "/w"), volume);
        }
        for wrong in ["", ":", "a:", ":a", "a b", "a:b:ro:x", "a\n"] {
            assert!(Mount::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_option_wins_over_the_file_and_the_file_over_the_script() {
        let host = ContainerHost { root: "/r".into() };
        let prefix = |text: &str| Some(ImagePrefix::parse(text.as_bytes()).unwrap());
        let file = || Given {
            image_prefix: prefix("file.example:5000/x"),
            timeout: Some(Seconds(7)),
            ..Given::default()
        };
        let options = Given { image_prefix: prefix("option"), ..Given::default() };
        let settings = Settings::new(&host, options, file()).unwrap();
        assert_eq!((settings.image(&start().image).as_str(), settings.timeout), ("option/image", Seconds(7)));
        let settings = Settings::new(&host, Given::default(), file()).unwrap();
        assert_eq!(settings.image(&start().image), "file.example:5000/x/image");
        assert!(Settings::new(&ContainerHost { root: "/a:b".into() }, Given::default(), file()).is_err());
        for wrong in ["", "/a", "a/", "a b", "https://a/b", "-a"] {
            assert!(ImagePrefix::parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
