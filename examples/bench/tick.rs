//! A monitor's tick over models at rest.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::floor;
use crate::measure::{Runs, Subject, in_turns, nothing, run};
use crate::report::{Goal, Row};
use crate::{Bench, Result};

/// Where members keep their models.
const PREFIX: &str = "/data1/work/datasys/framework/service/workspace/plugin";

/// What every service.conf names.
const VERSION: &str = "20180413192258";

/// How many models have an upgrade in flight, where some have.
const IN_FLIGHT: usize = 10;

/// So many models have all that a model has.
const WHOLE: usize = 1_000;

/// A monitor with models at rest.
pub struct Tree<'a> {
    bench: &'a Bench,
    root: PathBuf,
}

impl Tree<'_> {
    /// Builds it.
    pub fn with_models(bench: &Bench, models: usize) -> Result<Tree<'_>> {
        let tree = Tree { bench, root: bench.work.join(format!("tick-{models}")) };
        tree.build(models).map_err(|e| format!("{}: {e}", tree.root.display()))?;
        Ok(tree)
    }

    fn build(&self, models: usize) -> std::io::Result<()> {
        let scripts = self.root.join("scripts/dispatch");
        for dir in ["bin", "log"] {
            std::fs::create_dir_all(scripts.join(dir))?;
        }
        let mut registry = "#!/bin/sh\nlogFile=../log/dispatchserver-$(date +%Y%m%d).log\n".to_owned();
        for number in 0..models {
            let model = format!("model_{number}");
            let _ = write!(
                registry,
                "\n# {model}\n# add by bench\nmymodel=\"{model}\"\nplugin=\"{model}\"\n\
                 echo \"==================begin start run $mymodel=================================\"`date`  >> ${{logFile}}\n\
                 sh dispatch.sh $mymodel {PREFIX}/$mymodel $plugin.so >> ${{logFile}}\n\
                 echo \"==================end run $mymodel=========================================\"`date`  >> ${{logFile}}\n"
            );
            let data = self.root.join("rsync_service_data");
            let (upload, service) =
                (data.join("datamining_plugin").join(&model), data.join("datamining_service").join(&model));
            std::fs::create_dir_all(&upload)?;
            std::fs::create_dir_all(service.join("plugin"))?;
            // Into the others of very many nobody looks, and to build them takes minutes.
            if number >= WHOLE {
                continue;
            }
            for dir in [upload.join("lib"), upload.join("data"), service.join("config_1")] {
                std::fs::create_dir(dir)?;
            }
            std::fs::write(
                service.join("config_1/service.conf"),
                format!(
                    "[common]\nport=17019\n[module]\nname={model}\nmodulepath={PREFIX}/{model}/20180413192258/lib/{model}.so\n\
                         moduleconfig={PREFIX}/{model}/20180413192258/data\nmoduleversion=20180413192258\n"
                ),
            )?;
        }
        std::fs::write(scripts.join("bin/dispatchserver.sh"), registry)?;
        std::fs::copy(self.bench.scripts.join("dispatch.sh"), scripts.join("bin/dispatch.sh")).map(drop)
    }

    /// `dispatch` of the first model.
    pub fn one_model(&self) -> Command {
        let mut command = self.command(self.bench.binaries.join("dispatch"));
        command.args(["model_0", &format!("{PREFIX}/model_0"), "model_0.so"]);
        command
    }

    /// `dispatch --all`.
    fn all_models(&self) -> Command {
        let mut command = self.command(self.bench.binaries.join("dispatch"));
        command.arg("--all");
        command
    }

    /// A process that makes no more system calls for the same models than it has to.
    fn floor(&self, looks: &str) -> Command {
        // Where this program is, it is at once seen that it is not there.
        let mut command = self.command(std::env::current_exe().unwrap_or_default());
        command.arg(floor::FLOOR).arg(&self.root).arg(looks);
        command
    }

    /// Whether the first models have an upgrade in flight that no member has confirmed.
    fn set_in_flight(&self, is_so: bool) -> Result<()> {
        let failed = |e: std::io::Error| format!("{}: {e}", self.root.display());
        let conf = self.root.join("scripts/dispatch/conf");
        std::fs::create_dir_all(&conf).map_err(failed)?;
        for number in 0..IN_FLIGHT {
            let model = format!("model_{number}");
            let list = "members=127.0.0.11,127.0.0.12,127.0.0.13\nmoduleport=17019\n";
            std::fs::write(conf.join(format!("{model}.env.sh")), list).map_err(failed)?;
            let service = self.root.join("rsync_service_data/datamining_service").join(&model);
            // What is known of an upgrade outlives its `status`.
            let _ = std::fs::remove_dir_all(service.join(".rollout"));
            let status = service.join("status");
            if !is_so {
                std::fs::remove_file(&status).map_err(failed)?;
                continue;
            }
            let lib = service.join("plugin").join(VERSION).join("lib");
            std::fs::create_dir_all(&lib).map_err(failed)?;
            std::fs::write(lib.join(format!("{model}.so")), "library\n").map_err(failed)?;
            std::fs::write(&status, format!("{VERSION}\n")).map_err(failed)?;
            // The first tick takes over what a script has begun; those after it are measured.
            let mut tick = self.command(self.bench.binaries.join("dispatch"));
            tick.args([&model, &format!("{PREFIX}/{model}"), &format!("{model}.so")]);
            run(&mut tick)?;
        }
        Ok(())
    }

    /// Removes it.
    pub fn remove(self) -> Result<()> {
        std::fs::remove_dir_all(&self.root).map_err(|e| format!("{}: {e}", self.root.display()))
    }

    /// The legacy tick.
    fn script(&self) -> Command {
        let mut command = self.command("dash".into());
        command.arg("dispatchserver.sh");
        command
    }

    fn command(&self, program: PathBuf) -> Command {
        let mut command = Command::new(program);
        command.current_dir(self.root.join("scripts/dispatch/bin"));
        command.env("MONITOR_ROOT", &self.root).env("LC_ALL", "C");
        command
    }
}

/// The ticks over more and more models.
#[derive(Default)]
pub struct Ticks {
    /// How many models, and the binary's runs.
    pub binary: Vec<(usize, Runs)>,
    /// How many models, and the script's runs: where they do not take longer than anybody waits.
    pub script: Vec<(usize, Runs)>,
    /// A process that does no more than it has to.
    floor: Vec<(usize, Runs)>,
    /// One that looks for all that has to be looked for.
    promised: Vec<(usize, Runs)>,
    /// With some in flight among the most models; and those at rest and then those in flight alone.
    in_flight: Option<(usize, Runs, Runs)>,
}

impl Ticks {
    /// Measures them.
    pub fn measured(bench: &Bench) -> Result<Ticks> {
        let (sizes, beside): (&[usize], usize) =
            if bench.quick { (&[100, 1_000], 100) } else { (&[100, 1_000, 10_000, 50_000], 1_000) };
        let mut ticks = Ticks::default();
        for &models in sizes {
            let tree = Tree::with_models(bench, models)?;
            let commands: [&dyn Fn() -> Command; 3] =
                [&|| tree.all_models(), &|| tree.floor(""), &|| tree.floor(floor::PROMISED)];
            let rounds = if models < 10_000 { 21 } else { 7 };
            let mut runs = in_turns(rounds, &commands.map(always))?.into_iter();
            ticks.binary.extend(runs.next().map(|runs| (models, runs)));
            ticks.floor.extend(runs.next().map(|runs| (models, runs)));
            ticks.promised.extend(runs.next().map(|runs| (models, runs)));
            if models <= beside {
                let runs = in_turns(3, &[always(&|| tree.script())])?.into_iter().next();
                ticks.script.extend(runs.map(|runs| (models, runs)));
            }
            if Some(&models) == sizes.last() {
                ticks.in_flight = Some(in_flight(bench, &tree, models)?);
            }
            tree.remove()?;
        }
        Ok(ticks)
    }

    /// Beside the script, beside the least, and beside itself, for how it grows.
    pub fn rows(&self) -> Vec<Row> {
        let what = |models: usize| format!("dispatch --all, {models} idle models");
        let of = |models: usize, ticks: &[(usize, Runs)]| {
            ticks.iter().find(|(count, _)| *count == models).map(|(_, runs)| runs.clone())
        };
        let beside_scripts = self.binary.iter().filter_map(|(models, ours)| {
            let row = Row::new(what(*models), ours.clone(), "dash dispatchserver.sh");
            let row = row.theirs(of(*models, &self.script)?).if_missed(SCRIPT_MISSED);
            Some(if *models == 1_000 { row.goals(&[Goal::Ratio(0.001), Goal::Memory(8.0)]) } else { row })
        });
        let beside_the_least = self.binary.iter().filter_map(|(models, ours)| {
            let row =
                Row::new(what(*models), ours.clone(), "a process that looks for `status` and `success`");
            let row = row.theirs(of(*models, &self.floor)?).if_missed(FLOOR_MISSED);
            Some(if *models == 1_000 { row.goals(&[Goal::Ratio(2.0)]) } else { row })
        });
        let beside_the_same = self.binary.iter().filter_map(|(models, ours)| {
            let row = Row::new(
                what(*models),
                ours.clone(),
                "a process that makes the same looks, and keeps no promise",
            );
            (*models == 1_000).then_some(row.theirs(of(*models, &self.promised)?))
        });
        let beside_itself = self.binary.windows(2).map(|pair| {
            let [(fewer, theirs), (more, ours)] = pair else { unreachable!("windows of two") };
            let times = f64::from(u32::try_from(more / fewer).unwrap_or(u32::MAX));
            let row =
                Row::new(what(*more), ours.clone(), format!("itself, {fewer} models")).theirs(theirs.clone());
            match *more {
                50_000 => row.goals(&[Goal::Ratio(times), Goal::Seconds(1.0)]),
                _ => row.goals(&[Goal::Ratio(times)]),
            }
            .if_missed("so many inodes and names do not stay in the processor's caches")
        });
        let in_flight = self.in_flight.iter().map(|(models, ours, apart)| {
            let what = format!("dispatch --all, {IN_FLIGHT} in flight among {models}");
            Row::new(what, ours.clone(), format!("{models} at rest, and then {IN_FLIGHT} in flight alone"))
                .theirs(apart.clone())
                .goals(&[Goal::Ratio(1.1)])
        });
        beside_scripts
            .chain(beside_the_least)
            .chain(beside_the_same)
            .chain(beside_itself)
            .chain(in_flight)
            .collect()
    }
}

const SCRIPT_MISSED: &str = "nothing can be that much faster where a shell starts a process in a millisecond: the script takes one or two for each model, and the least process that only looks for \
    `status` and `success` (the row beside that) is some 600 times faster";
const FLOOR_MISSED: &str = "it looks seven times, not twice: also for what a run that was killed has left (`.success.removing`, `plugin/.discarded`), for holds, for the state and for the \
    model's directory, so that one that is not there is an error; and it reads the registry as a shell would, where this process only looks for `mymodel=`. Less would take a \
    file that says which models have work, kept by whoever makes work, and an unchanged rsync.sh does not keep it";

fn always(command: &dyn Fn() -> Command) -> Subject<'_> {
    Subject { before: &nothing, command }
}

/// With some in flight among many; and the many at rest and then those few alone, as one.
fn in_flight(bench: &Bench, many: &Tree, models: usize) -> Result<(usize, Runs, Runs)> {
    let few = Tree { bench, root: bench.work.join("tick-in-flight") };
    few.build(IN_FLIGHT).map_err(|e| format!("{}: {e}", few.root.display()))?;
    few.set_in_flight(true)?;
    many.set_in_flight(true)?;
    let (with, without) = (|| many.set_in_flight(true), || many.set_in_flight(false));
    let ours = || many.all_models();
    let apart = || {
        let mut command = Command::new("dash");
        let both = "cd \"$2\" && MONITOR_ROOT=$2/../../.. \"$1\" --all && cd \"$3\" && MONITOR_ROOT=$3/../../.. \"$1\" --all";
        command.args(["-c", both, "both"]).arg(bench.binaries.join("dispatch"));
        command.args([many, &few].map(|tree| tree.root.join("scripts/dispatch/bin"))).env("LC_ALL", "C");
        command
    };
    let subjects = [Subject { before: &with, command: &ours }, Subject { before: &without, command: &apart }];
    let [ours, apart] = <[Runs; 2]>::try_from(in_turns(7, &subjects)?).map_err(|_| "two subjects")?;
    few.remove()?;
    Ok((models, ours, apart))
}
