//! dispatch.sh over the same files; it may die in between.

use model_rollout::formats::announcement::{Bytes, FIRST_INSTANCE};
use model_rollout::version::Version;

use crate::simulate::world::{ListFile, Placed, StatusFile, World, conf_with, target, version_in};

/// One tick. `dies_at`: before this step.
pub fn tick(world: &mut World, dies_at: Option<u8>) {
    let mut steps = 0;
    let mut dies = || {
        steps += 1;
        dies_at.is_some_and(|at| at <= steps)
    };
    if update(world, &mut dies) {
        check(world);
    }
}

/// legacy: dispatch.sh, fUpdateVersion. Returns whether it lives.
fn update(world: &mut World, dies: &mut impl FnMut() -> bool) -> bool {
    if world.files.status.is_some() {
        return true;
    }
    let Some(success) = world.files.success.clone() else { return true };
    let version = Version::announced_in(&success.content).unwrap_or_else(|| world.version_of_now());
    world.files.truth.is_disturbed = true;
    world.files.status = Some(StatusFile { version: Some(version.clone()), written_s: world.now_s });
    if dies() {
        return false;
    }
    let Some((content, is_half)) = Some((world.files.upload.content, world.files.upload.is_half)) else {
        return true;
    };
    let half = Placed { content, is_whole: false, written_s: world.now_s };
    world.files.plugin.insert(version.clone(), half);
    if dies() {
        return false;
    }
    world
        .files
        .plugin
        .insert(version.clone(), Placed { content, is_whole: !is_half, written_s: world.now_s });
    let names: Vec<String> = world.files.confs.keys().cloned().collect();
    for name in names {
        let Bytes(conf) = world.files.confs[&name].clone();
        let Some(whole) = conf_with(&conf, &target(), &version) else { continue };
        // One sed after the other.
        let text = String::from_utf8(conf).unwrap();
        let first: Vec<String> = text
            .lines()
            .map(|line| match line.starts_with("moduleversion=") {
                true => format!("moduleversion={version}"),
                false => line.to_owned(),
            })
            .collect();
        world.files.truth.by_others.insert(version.clone());
        world.files.confs.insert(name.clone(), Bytes((first.join("\n") + "\n").into_bytes()));
        if dies() {
            return false;
        }
        world.files.confs.insert(name, Bytes(whole));
        if dies() {
            return false;
        }
    }
    world.pushes[success.push].is_published = true;
    !dies()
}

/// legacy: dispatch.sh, fCheckVersion.
fn check(world: &mut World) {
    let Some(status) = &world.files.status else { return };
    let is_over = world.now_s - status.written_s > 1200;
    let all_agree = || {
        let ListFile::Known(list) = &world.list else { return false };
        let version = world.files.confs.get(FIRST_INSTANCE).and_then(|conf| version_in(&conf.0));
        !list.members.is_empty()
            && list.members.iter().all(|host| {
                let report = world.files.reports.get(&world.hosts[*host].address);
                report.map(|(version, _)| version) == version.as_ref()
            })
    };
    if is_over || all_agree() {
        world.files.truth.is_disturbed = true;
        world.files.status = None;
        world.files.success = None;
    }
}
