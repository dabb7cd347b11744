//! The models of a monitor, and the service.conf of every instance of each.

use std::path::PathBuf;

use crate::error::Result;
use crate::layout::{Monitor, Service};
use crate::machine::files::{self, CONFIGURATION_LIMIT};
use crate::names::ModelName;

/// Every model of a monitor, by name: each directory of its services that has the name of one.
pub fn models(monitor: &Monitor) -> Result<Vec<ModelName>> {
    let names = files::names_in(&monitor.services())?;
    let models = names.iter().filter_map(|name| ModelName::parse(name.as_encoded_bytes()).ok());
    Ok(models.filter(|model| files::is_directory(&monitor.service(model).dir)).collect())
}

/// Every `config_*/service.conf` of a model, in the order of a glob. legacy: dispatch.sh, `"$service"/config_*/service.conf`
///
/// Fails when one cannot be read, leads out of the model's directory, or when all of them together are too large.
pub fn of(service: &Service) -> Result<Vec<(PathBuf, Vec<u8>)>> {
    let mut configurations = Vec::new();
    // For all of them together: there may be any number.
    let mut left = CONFIGURATION_LIMIT;
    for name in files::names_in(&service.dir)? {
        if name.as_encoded_bytes().starts_with(b"config_") {
            let path = service.dir.join(name).join("service.conf");
            files::check_within(&service.dir, &path)?;
            if let Some(bytes) = files::read_if_exists(&path, left)? {
                left -= bytes.len() as u64;
                configurations.push((path, bytes));
            }
        }
    }
    Ok(configurations)
}
