//! Arguments of `dockerrun` -> a typed request.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;

use clap::Parser;

use crate::error::Result;
use crate::names::{ImageName, ImageTag, ModelName, Port, ServiceId};
use crate::time::Seconds;
use crate::tools::dockerrun::command::{Given, ImagePrefix, Mount, Start};

/// Starts a model's container on this host, and waits until its service accepts connections. Replaces dockerrun.sh. An image
/// that is not on this host is fetched first, which may take minutes.
#[derive(Debug, Parser)]
#[command(
    name = "dockerrun",
    version,
    override_usage = "dockerrun [OPTIONS] VERSION DOCKER_NAME PORT SERVICE_NAME\n       dockerrun --check DOCKER_NAME"
)]
pub struct Cli {
    /// The image's version, for example v1.0
    #[arg(value_name = "VERSION", required_unless_present = "check")]
    tag: Option<OsString>,
    /// The image's name, without registry and version
    #[arg(value_name = "DOCKER_NAME", required_unless_present = "check")]
    image: Option<OsString>,
    /// The port that the service listens on
    #[arg(value_name = "PORT", required_unless_present = "check")]
    port: Option<OsString>,
    /// The model that the container serves
    #[arg(value_name = "SERVICE_NAME", required_unless_present = "check")]
    service: Option<OsString>,
    /// What stands before DOCKER_NAME [default: image_prefix in SERVICE_ROOT/env.sh, otherwise the manual's registry]
    #[arg(long, value_name = "PREFIX")]
    image_prefix: Option<OsString>,
    /// A directory of this host, and where the container sees it; may be given several times, and takes the place of all
    /// others [default: mounts in SERVICE_ROOT/env.sh, otherwise those of dockerrun.sh]
    #[arg(long, value_name = "FROM:TO")]
    mount: Vec<OsString>,
    /// Wait that long for the service to accept connections on PORT; 0: not at all
    /// [default: service_timeout in SERVICE_ROOT/env.sh, otherwise 300]
    #[arg(long, value_name = "SECONDS")]
    timeout: Option<OsString>,
    /// What the table of ports calls the service, where that is not SERVICE_NAME
    #[arg(long, value_name = "ID")]
    service_id: Option<OsString>,
    /// Print the command, quoted for a shell, and run nothing
    #[arg(long)]
    print: bool,
    /// Whether the image is here, its container up, and which version it serves; nothing is started
    #[arg(long, value_name = "DOCKER_NAME", conflicts_with_all = ["tag", "mount", "timeout", "service_id", "print"])]
    check: Option<OsString>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Start a container.
    Start(Start),
    /// Print the command that would.
    Print(Start),
    /// Look at the containers of an image.
    Check(ImageName),
}

impl Cli {
    /// Validates the arguments. Fails (exit 2) before anything is done. Returns what the options say about the site, too.
    pub fn task(self) -> Result<(Task, Given)> {
        let given = Given {
            image_prefix: parsed("--image-prefix", &self.image_prefix, ImagePrefix::parse)?,
            mounts: self.mount.iter().map(|mount| Mount::parse(mount.as_bytes())).collect::<Result<_>>()?,
            timeout: parsed("--timeout", &self.timeout, Seconds::parse)?,
        };
        if let Some(image) = parsed("--check", &self.check, ImageName::parse)? {
            return Ok((Task::Check(image), given));
        }
        let word = |typed: Option<OsString>| typed.unwrap_or_default();
        let start = Start {
            tag: ImageTag::parse(word(self.tag).as_bytes())?,
            image: ImageName::parse(word(self.image).as_bytes())?,
            port: Port::parse(word(self.port).as_bytes())?,
            service: ModelName::parse(word(self.service).as_bytes())?,
            service_id: parsed("--service-id", &self.service_id, ServiceId::parse)?,
        };
        Ok((if self.print { Task::Print(start) } else { Task::Start(start) }, given))
    }
}

fn parsed<T>(
    option: &str,
    typed: &Option<OsString>,
    parse: impl Fn(&[u8]) -> Result<T>,
) -> Result<Option<T>> {
    typed.as_ref().map(|typed| parse(typed.as_bytes()).map_err(|e| e.context(option))).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(arguments: &[&str]) -> Option<(Task, Given)> {
        Cli::try_parse_from(["dockerrun"].iter().chain(arguments)).ok()?.task().ok()
    }

    #[test]
    fn the_four_arguments_of_the_script_are_enough() {
        let (Task::Start(start), given) = task(&["v1.0", "image", "17019", "mblog_yellow"]).unwrap() else {
            panic!()
        };
        assert_eq!((start.tag.as_str(), start.image.as_str(), start.port.number()), ("v1.0", "image", 17019));
        assert_eq!((start.service.as_str(), given), ("mblog_yellow", Given::default()));
        assert!(matches!(task(&["--check", "image"]), Some((Task::Check(_), _))));
    }

    #[test]
    fn what_is_no_name_or_half_said_is_refused() {
        for wrong in [
            &["v1.0", "image", "17019"][..],
            &["v1.0", "image", "17019", "m", "m"],
            &["v1.0", "team/image", "17019", "m"],
            &["v1.0", "-image", "17019", "m"],
            &["v1.0", "image:v2", "17019", "m"],
            &["v 1", "image", "17019", "m"],
            &["", "image", "17019", "m"],
            &["v1.0", "image", "0", "m"],
            &["v1.0", "image", "65536", "m"],
            &["v1.0", "image", "17019", "../m"],
            &["v1.0", "image", "17019", "m", "--timeout", "soon"],
            &["v1.0", "image", "17019", "m", "--mount", "log:"],
            &["v1.0", "image", "17019", "m", "--image-prefix", "https://r/p"],
            &["v1.0", "image", "17019", "m", "--check", "image"],
            &["--check", "image", "--print"],
            &[],
        ] {
            assert_eq!(task(wrong), None, "{wrong:?}");
        }
    }
}
