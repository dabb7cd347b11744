//! The runs that are disturbed: files before, a command, what must hold at every instant and in the end.

use std::process::Command;

use crate::harness::World;
use crate::harness::side::{Side, Tool, under_test};
use crate::harness::world::{LIBRARY, MODEL, PREFIX, SERVICE_CONF, announced};

/// What is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// A tool, by a script or a binary.
    Tool(Tool, Side, &'static [&'static str]),
    /// `autoupdate-toggle`, on a file of the world that an option names.
    Toggle(&'static [&'static str], &'static str),
    /// A planted program, as a shell reads it, in the world's directory.
    Planted(&'static str),
}

/// One run that is disturbed. Every path is relative to the world.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What it is called in messages.
    pub name: &'static str,
    /// What is run.
    pub run: Run,
    /// Builds the world before.
    pub given: fn(&World),
    /// How many undisturbed runs finish what a disturbed one left.
    pub finishes: usize,
    /// Files that others read: each is as it was before or as it is after an undisturbed run, bytes and mode.
    pub files: &'static [&'static str],
    /// Directories that others read: each as a whole is as it was before or as it is after.
    pub directories: &'static [&'static str],
    /// What announces, and what it announces: once the first is as after the run, so is everything below the others.
    pub announces: &'static [(&'static str, &'static [&'static str])],
    /// Directories whose content has to be kept somewhere below another: the previous push, in the backup.
    pub keeps: &'static [(&'static str, &'static str)],
    /// Whether the service has to be restarted, at least once.
    pub restarts: bool,
    /// How many calls of rsync it makes.
    pub rsyncs: usize,
}

impl Case {
    /// The command, ready to be started.
    pub fn command(&self, world: &World) -> Command {
        let mut command = self.bare_command(world);
        // Cargo sets it, and the loader would look into every directory that it names.
        command.env_remove("LD_LIBRARY_PATH");
        command
    }

    fn bare_command(&self, world: &World) -> Command {
        match self.run {
            Run::Tool(tool, side, arguments) => world.command(tool, side, arguments),
            Run::Toggle(arguments, file) => {
                let mut command = Command::new(under_test(env!("CARGO_BIN_EXE_autoupdate-toggle")));
                world.prepare(&mut command, Tool::Add, Side::BINARY);
                command.args(arguments).arg(world.path(file));
                command
            }
            Run::Planted(text) => {
                let mut command = Command::new("sh");
                world.prepare(&mut command, Tool::Add, Side::BINARY);
                command.args(["-c", text]);
                command
            }
        }
    }

    /// The name with which its complaints begin.
    pub fn program(&self) -> &'static str {
        match self.run {
            Run::Tool(Tool::Add, ..) => "add_dispatch_docker",
            Run::Tool(Tool::Push, ..) => "rsync-push",
            Run::Tool(Tool::Dispatch | Tool::Registry, ..) => "dispatch",
            Run::Tool(Tool::Poll, ..) => "service_polling",
            Run::Tool(Tool::DockerRun, ..) => "dockerrun",
            Run::Toggle(..) => "autoupdate-toggle",
            Run::Planted(_) => "planted",
        }
    }

    /// How many lines a failure may have: a run over the registry has one for each model, and a summary.
    pub fn lines_of_a_failure(&self) -> std::ops::RangeInclusive<usize> {
        if matches!(self.run, Run::Tool(Tool::Registry, ..)) { 1..=3 } else { 1..=1 }
    }
}

/// Nothing to be looked at: what the cases begin with.
const NOTHING: Case = Case {
    name: "",
    run: Run::Planted(""),
    given: |_| {},
    finishes: 1,
    files: &[],
    directories: &[],
    announces: &[],
    keeps: &[],
    restarts: false,
    rsyncs: 0,
};

const V: &str = "20180413192258";
const ONE: &[&str] = &[MODEL, PREFIX, LIBRARY];

macro_rules! upload {
    ($path:literal) => {
        concat!("monitor/rsync_service_data/datamining_plugin/mblog_yellow/", $path)
    };
}
macro_rules! service {
    ($path:literal) => {
        concat!("monitor/rsync_service_data/datamining_service/mblog_yellow/", $path)
    };
}
macro_rules! member {
    ($path:literal) => {
        concat!("member-127.0.0.11/workspace/", $path)
    };
}

/// An announced upload, two instances, one member.
fn announced_upload(world: &World) {
    world.registered();
    world.service_conf("config_2", SERVICE_CONF.replace("17019", "17020"));
    world.member_list("127.0.0.11");
    world.uploaded(&format!("{V}\n"));
}

/// The same; the member reports the version already, so that one tick publishes it and ends the upgrade.
fn confirmed_upload(world: &World) {
    announced_upload(world);
    world.reported("127.0.0.11", V);
}

/// A script began the upgrade, copied half of it and died.
fn half_copied_by_a_script(world: &World) {
    announced_upload(world);
    world.write(service!("status"), format!("{V}\n"));
    world.write(service!("plugin/20180413192258/lib/mblog_yellow.so"), "libr");
    world.age(service!("plugin/20180413192258/lib/mblog_yellow.so"), 600);
    world.age(service!("status"), 600);
    for dir in ["plugin/20180413192258/lib", "plugin/20180413192258"] {
        let dir = std::fs::File::open(world.service(dir)).unwrap();
        dir.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(600)).unwrap();
    }
}

const ANNOUNCEMENT: &[(&str, &[&str])] = &[
    (service!("config_1/service.conf"), &[service!("plugin/20180413192258")]),
    (service!("config_2/service.conf"), &[service!("plugin/20180413192258")]),
];

/// `dispatch MODEL`: publishes.
pub const DISPATCH: Case = Case {
    name: "dispatch, which publishes",
    run: Run::Tool(Tool::Dispatch, Side::BINARY, ONE),
    given: announced_upload,
    files: &[
        service!("config_1/service.conf"),
        service!("config_2/service.conf"),
        service!("status"),
        upload!("success"),
    ],
    directories: &[service!("plugin/20180413192258")],
    announces: ANNOUNCEMENT,
    ..NOTHING
};

/// `dispatch MODEL`: publishes, and ends the upgrade.
pub const DISPATCH_TO_THE_END: Case = Case {
    name: "dispatch, which publishes and ends the upgrade",
    given: confirmed_upload,
    finishes: 2,
    files: &[service!("config_1/service.conf"), service!("config_2/service.conf"), upload!("success")],
    announces: &[
        ANNOUNCEMENT[0],
        ANNOUNCEMENT[1],
        (upload!("success"), &[service!("config_1"), service!("config_2"), service!("plugin")]),
    ],
    ..DISPATCH
};

/// `dispatch MODEL`: finishes what a script left, under the same version's name.
pub const DISPATCH_AFTER_A_SCRIPT: Case = Case {
    name: "dispatch, after a script that died",
    given: half_copied_by_a_script,
    // The half copy was there before, and is taken away before the whole one gets its name.
    directories: &[],
    files: &[service!("config_1/service.conf"), service!("config_2/service.conf"), upload!("success")],
    ..DISPATCH
};

/// A registry of two models; the second has one file of each kind.
fn two_models(world: &World) {
    confirmed_upload(world);
    let registry = String::from_utf8(world.read(REGISTRY)).unwrap();
    let stanza = |model: &str| {
        format!(
            "# {model}\n# add by root\nmymodel=\"{model}\"\nplugin=\"{model}\"\n\
             echo \"==================begin start run $mymodel=================================\"`date`  >> ${{logFile}}\n\
             sh dispatch.sh $mymodel /data1/work/datasys/framework/service/workspace/plugin/$mymodel $plugin.so >> ${{logFile}}\n\
             echo \"==================end run $mymodel========================================\"`date`  >> ${{logFile}}\n"
        )
    };
    world.write(REGISTRY, format!("{registry}{}{}", stanza(MODEL), stanza("second")));
    let upload = "monitor/rsync_service_data/datamining_plugin/second";
    let service = "monitor/rsync_service_data/datamining_service/second";
    for (path, content) in [
        (format!("{upload}/lib/second.so"), "library\n"),
        (format!("{upload}/data/x"), "data\n"),
        (format!("{upload}/success"), "20180413192258\n"),
        (format!("{service}/config_1/service.conf"), SERVICE_CONF),
    ] {
        world.write(&path, content);
        world.age(&path, 3600);
    }
    world.directory(format!("{service}/plugin"));
}

/// Two instances on a version of a script that is in flight, and the one before.
fn in_flight(world: &World) {
    world.registered();
    world.member_list("127.0.0.11");
    world.published("20170101000000");
    world.uploaded(&format!("{V}\n"));
    world.upload_is_published(V);
    world.service_conf("config_2", announced(&SERVICE_CONF.replace("17019", "17020"), V));
    world.write(service!("status"), format!("{V}\n"));
}

/// `dispatch --rollback`.
pub const ROLLBACK: Case = Case {
    name: "dispatch --rollback",
    run: Run::Tool(
        Tool::Dispatch,
        Side::BINARY,
        &["--rollback", MODEL, "--to", "20170101000000", "--force", "--why", "it answers nothing"],
    ),
    given: in_flight,
    files: &[
        service!("config_1/service.conf"),
        service!("config_2/service.conf"),
        service!("status"),
        upload!("success"),
    ],
    directories: &[service!("plugin/20180413192258"), service!("plugin/20170101000000")],
    announces: &[(service!("config_1/service.conf"), &[service!("status")])],
    ..NOTHING
};

/// `dispatch --pin`.
pub const PIN: Case = Case {
    name: "dispatch --pin",
    run: Run::Tool(Tool::Dispatch, Side::BINARY, &["--pin", "20170101000000", MODEL, "--force"]),
    files: &[
        service!("config_1/service.conf"),
        service!("config_2/service.conf"),
        service!("status"),
        upload!("success"),
    ],
    announces: &[(service!("config_1/service.conf"), &[service!("status")])],
    ..ROLLBACK
};

/// Older versions, the oldest of which is bad.
fn older_versions(world: &World) {
    in_flight(world);
    for version in ["20150101000000", "20160101000000", "20160201000000"] {
        world.write(world.service(&format!("plugin/{version}/lib/mblog_yellow.so")), "library 0\n");
        world.write(world.service(&format!(".rollout/manifests/{version}")), "manifest\n");
    }
}

/// `dispatch --prune`.
pub const PRUNE: Case = Case {
    name: "dispatch --prune",
    run: Run::Tool(Tool::Dispatch, Side::BINARY, &["--prune", MODEL, "--keep", "1"]),
    given: older_versions,
    files: &[service!("config_1/service.conf"), service!("status"), upload!("success")],
    directories: &[
        service!("plugin/20150101000000"),
        service!("plugin/20160101000000"),
        service!("plugin/20160201000000"),
        service!("plugin/20170101000000"),
        service!("plugin/20180413192258"),
    ],
    ..NOTHING
};

const REGISTRY: &str = "monitor/scripts/dispatch/bin/dispatchserver.sh";

/// `dispatch --all`.
pub const REGISTRY_TICK: Case = Case {
    name: "dispatch --all",
    run: Run::Tool(Tool::Registry, Side::BINARY, &[]),
    given: two_models,
    directories: &[
        service!("plugin/20180413192258"),
        "monitor/rsync_service_data/datamining_service/second/plugin/20180413192258",
    ],
    ..DISPATCH_TO_THE_END
};

/// A deploy directory that was pushed from before, and what the monitor still holds of that.
fn pushed_before(world: &World) {
    world.registered();
    world.write_with_mode(world.upload("lib/mblog_yellow.so"), "library 0\n", 0o755);
    world.write(world.upload("data/feature.conf"), "feature 0\n");
    world.deploy();
    world.write("deploy/online/success", "20170101000000\n");
}

/// The same in the newer layout: what was pushed lies in online/lib and online/data.
fn pushed_before_from_the_newer_layout(world: &World) {
    pushed_before(world);
    for name in ["release", "data"] {
        std::fs::rename(world.path("deploy/online").join(name), world.path("deploy").join(name)).unwrap();
    }
    world.write_with_mode("deploy/online/lib/mblog_yellow.so", "library 0\n", 0o755);
    world.write("deploy/online/data/feature.conf", "feature 0\n");
    world.write("deploy/online/data/other.conf", "other 0\n");
}

/// `rsync-push update`.
pub const PUSH: Case = Case {
    name: "rsync-push",
    run: Run::Tool(Tool::Push, Side::BINARY, &["update"]),
    given: pushed_before,
    files: &[
        upload!("success"),
        upload!(".env.sh"),
        upload!("lib/mblog_yellow.so"),
        upload!("data/feature.conf"),
        upload!("data/fast_lr/predict.model"),
    ],
    directories: &["deploy/backup/lib/bak-<VERSION>", "deploy/backup/data/bak-<VERSION>"],
    announces: &[(upload!("success"), &[upload!("lib"), upload!("data"), upload!(".env.sh")])],
    keeps: &[("deploy/online/release", "deploy/backup/lib"), ("deploy/online/data", "deploy/backup/data")],
    rsyncs: 5,
    ..NOTHING
};

/// `rsync-push update` in the newer layout.
pub const PUSH_FROM_THE_NEWER_LAYOUT: Case = Case {
    name: "rsync-push from the newer layout",
    given: pushed_before_from_the_newer_layout,
    keeps: &[("deploy/online/lib", "deploy/backup/lib"), ("deploy/online/data", "deploy/backup/data")],
    ..PUSH
};

/// `add_dispatch_docker`, to a registry that has a mode of its own.
pub const ADD: Case = Case {
    name: "add_dispatch_docker",
    run: Run::Tool(
        Tool::Add,
        Side::BINARY,
        &["model", MODEL, MODEL, "--members", "127.0.0.11,127.0.0.12", "--port", "17019"],
    ),
    given: |world| {
        let header = world.read(REGISTRY);
        world.write_with_mode(REGISTRY, header, 0o754);
    },
    files: &[
        REGISTRY,
        service!("config_1/service.conf"),
        "monitor/scripts/dispatch/conf/mblog_yellow.env.sh",
    ],
    announces: &[(
        REGISTRY,
        &[
            "monitor/rsync_service_data/datamining_plugin/mblog_yellow",
            "monitor/rsync_service_data/datamining_service/mblog_yellow",
            "monitor/scripts/dispatch/conf",
        ],
    )],
    ..NOTHING
};

/// A member that never had a version.
fn new_member(world: &World) {
    world.registered();
    world.published(V);
    world.directory(world.service("version"));
    world.member("127.0.0.11");
}

/// A member that serves an older version.
fn older_member(world: &World) {
    new_member(world);
    world.write_with_mode(member!("bin/etc/service.conf"), announced(SERVICE_CONF, "20170101000000"), 0o640);
    world.write(member!("plugin/mblog_yellow/20170101000000/lib/mblog_yellow.so"), "library 0\n");
}

/// `service_polling`, an upgrade.
pub const POLL: Case = Case {
    name: "service_polling",
    run: Run::Tool(Tool::Poll, Side::BINARY, &[]),
    given: older_member,
    files: &[member!("bin/etc/service.conf"), service!("version/127.0.0.11")],
    directories: &[
        member!("plugin/mblog_yellow/20180413192258"),
        member!("plugin/mblog_yellow/20170101000000"),
    ],
    announces: &[
        (member!("bin/etc/service.conf"), &[member!("plugin/mblog_yellow")]),
        (service!("version/127.0.0.11"), &[member!("bin/etc/service.conf"), member!("plugin/mblog_yellow")]),
    ],
    restarts: true,
    rsyncs: 4,
    ..NOTHING
};

/// `service_polling`, the first version of a member.
pub const FIRST_POLL: Case = Case { name: "service_polling, the first time", given: new_member, ..POLL };

/// `service_polling` where a script left half of the version.
pub const POLL_AFTER_A_SCRIPT: Case = Case {
    name: "service_polling, after a script that died",
    given: |world| {
        older_member(world);
        world.write(member!("plugin/mblog_yellow/20180413192258/lib/mblog_yellow.so"), "libr");
    },
    // The half copy was there before, and is taken away before the whole one gets its name.
    directories: &[],
    ..POLL
};

const RSYNCD_CONF: &str = "monitor/rsyncd.conf";
const CRONTAB: &str = "monitor/crontab";

/// `autoupdate-toggle disable --method rsyncd`.
pub const DENY: Case = Case {
    name: "autoupdate-toggle disable --method rsyncd",
    run: Run::Toggle(
        &["disable", "--method", "rsyncd", "--module", "m", "--ip", "10.0.0.1", "--config"],
        RSYNCD_CONF,
    ),
    given: |world| {
        world.write_with_mode(RSYNCD_CONF, "uid = root\n[m]\npath = /m\n\n[n]\npath = /n\n", 0o640)
    },
    files: &[RSYNCD_CONF],
    ..NOTHING
};

/// `autoupdate-toggle disable --method crontab`.
pub const PAUSE: Case = Case {
    name: "autoupdate-toggle disable --method crontab",
    run: Run::Toggle(&["disable", "--method", "crontab", "--file"], CRONTAB),
    given: |world| {
        let text = "MAILTO=a\n\n* * * * * /bin/bash   /watch/service_polling.sh\n0 4 * * * /bin/true\n";
        world.write_with_mode(CRONTAB, text, 0o600);
    },
    files: &[CRONTAB],
    ..NOTHING
};

/// `autoupdate-toggle enable --method crontab`.
pub const RESUME: Case = Case {
    name: "autoupdate-toggle enable --method crontab",
    run: Run::Toggle(&["enable", "--method", "crontab", "--file"], CRONTAB),
    given: |world| {
        let text = "#autoupdate-toggle paused# * * * * * /watch/service_polling.sh\nMAILTO=a\n";
        world.write_with_mode(CRONTAB, text, 0o600);
    },
    ..PAUSE
};

/// Every case, by what runs.
pub const ALL: [&[Case]; 6] = [
    &[DISPATCH, DISPATCH_TO_THE_END, DISPATCH_AFTER_A_SCRIPT, ROLLBACK, PIN, PRUNE],
    &[REGISTRY_TICK],
    &[PUSH, PUSH_FROM_THE_NEWER_LAYOUT],
    &[ADD],
    &[POLL, FIRST_POLL, POLL_AFTER_A_SCRIPT],
    &[DENY, PAUSE, RESUME],
];

/// Every case.
pub fn all() -> impl Iterator<Item = Case> {
    ALL.into_iter().flatten().copied()
}

/// The same run by the script.
pub fn by_script(case: Case) -> Case {
    match case.run {
        Run::Tool(tool, _, arguments) => Case { run: Run::Tool(tool, Side::SCRIPT, arguments), ..case },
        _ => case,
    }
}
