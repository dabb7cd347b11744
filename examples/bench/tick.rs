//! A monitor's tick over models at rest.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

use crate::measure::{Runs, Subject, in_turns, nothing};
use crate::report::Row;
use crate::{Bench, Result};

/// Where members keep their models.
const PREFIX: &str = "/data1/work/datasys/framework/service/workspace/plugin";

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
            for dir in ["lib", "data"] {
                std::fs::create_dir_all(data.join("datamining_plugin").join(&model).join(dir))?;
            }
            let service = data.join("datamining_service").join(&model);
            for dir in ["plugin", "config_1"] {
                std::fs::create_dir_all(service.join(dir))?;
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
pub struct Ticks {
    /// How many models, and the binary's runs.
    pub binary: Vec<(usize, Runs)>,
    /// How many models, and the script's runs: where they do not take longer than anybody waits.
    pub script: Vec<(usize, Runs)>,
}

impl Ticks {
    /// Measures them.
    pub fn measured(bench: &Bench) -> Result<Ticks> {
        let (sizes, beside): (&[usize], usize) =
            if bench.quick { (&[100, 1_000], 100) } else { (&[100, 1_000, 10_000, 50_000], 1_000) };
        let mut ticks = Ticks { binary: Vec::new(), script: Vec::new() };
        for &models in sizes {
            let tree = Tree::with_models(bench, models)?;
            let commands: [&dyn Fn() -> Command; 2] = [&|| tree.all_models(), &|| tree.script()];
            let count = if models <= beside { 2 } else { 1 };
            let subjects: Vec<Subject> =
                commands[..count].iter().map(|&command| Subject { before: &nothing, command }).collect();
            let mut runs = in_turns(5, &subjects)?.into_iter();
            ticks.binary.extend(runs.next().map(|runs| (models, runs)));
            ticks.script.extend(runs.next().map(|runs| (models, runs)));
            std::fs::remove_dir_all(&tree.root).map_err(|e| format!("{}: {e}", tree.root.display()))?;
        }
        Ok(ticks)
    }

    /// Beside the script; and beside itself, for how it grows.
    pub fn rows(&self) -> Vec<Row> {
        let of = |models: usize, ticks: &[(usize, Runs)]| {
            ticks.iter().find(|(count, _)| *count == models).map(|(_, runs)| runs.clone())
        };
        let beside_scripts = self.binary.iter().filter_map(|(models, ours)| {
            let theirs = of(*models, &self.script)?;
            Some(Row {
                what: format!("dispatch --all, {models} idle models"),
                beside: "dash dispatchserver.sh".to_owned(),
                ours: ours.clone(),
                theirs: Some(theirs),
                bytes: None,
                goal: (*models == 1_000).then_some(0.001),
                memory_goal: (*models == 1_000).then_some(8 << 20),
            })
        });
        let beside_itself = self.binary.windows(2).map(|pair| {
            let [(fewer, theirs), (more, ours)] = pair else { unreachable!("windows of two") };
            Row {
                what: format!("dispatch --all, {more} idle models"),
                beside: format!("itself, {fewer} models"),
                ours: ours.clone(),
                theirs: Some(theirs.clone()),
                bytes: None,
                goal: Some(1.1 * f64::from(u32::try_from(more / fewer).unwrap_or(u32::MAX))),
                memory_goal: None,
            }
        });
        beside_scripts.chain(beside_itself).collect()
    }
}
