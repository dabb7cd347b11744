//! Templates of service.conf: `${name}` in them is replaced. A `$` is never the second byte of a GBK character, so remarks
//! may be in any encoding.

use std::path::{Path, PathBuf};

use crate::error::{Error, Result};
use crate::formats::Refusal;
use crate::formats::service_conf::lint::{self, About, NO_NAME, NO_PORT, NO_VERSION};
use crate::names::{TypeName, shown};
use crate::tools::add_dispatch_docker::cli::{Request, ZK_ADDR, ZK_GROUP_ID, ZK_TYPE_ID};

/// The TYPEs for which no file is needed.
const BUILT_IN: [(&str, &[u8]); 1] = [("model", include_bytes!("../templates/model.conf"))];

/// What a service.conf is made from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// The site's file; `None` for one that is built in.
    pub path: Option<PathBuf>,
    /// Its text.
    pub text: Vec<u8>,
}

/// The template of a TYPE: the site's file if it has one, otherwise the built-in one. `others` are the names in the site's
/// directory.
///
/// Fails (exit 2) when there is neither, naming those there are.
pub fn choose(kind: &TypeName, site: Option<(PathBuf, Vec<u8>)>, others: &[Vec<u8>]) -> Result<Template> {
    if let Some((path, text)) = site {
        return Ok(Template { path: Some(path), text });
    }
    if let Some((_, text)) = BUILT_IN.iter().find(|(name, _)| *name == kind.as_str()) {
        return Ok(Template { path: None, text: text.to_vec() });
    }
    let of_file = |name: &Vec<u8>| TypeName::parse(name.strip_suffix(b".conf")?).ok();
    let mut known: Vec<String> = others.iter().filter_map(of_file).map(|name| name.to_string()).collect();
    known.extend(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()));
    known.sort();
    known.dedup();
    let there_are = if known.len() == 1 { "the one there is" } else { "those there are" };
    let (kind, known) = (shown(kind.as_str().as_bytes()), known.join(", "));
    Err(Error::usage(format!("{kind} is not a known TYPE; {there_are}: {known}")))
}

/// The service.conf of a new model.
///
/// Fails (exit 2) when the site's template needs to be told what was not said, or would make one with errors.
pub fn service_conf(template: &Template, request: &Request) -> Result<Vec<u8>> {
    let path = template.path.as_deref().unwrap_or(Path::new("template"));
    let conf = fill(&template.text, &values(request)).map_err(|refusal| refusal.in_file(path))?;
    if template.path.is_none() {
        return Ok(conf);
    }
    if request.service.is_none() && conf != template.text {
        return Err(Error::usage(format!("{} needs to be told the port; add --port PORT", path.display())));
    }
    let about = About { model: &request.model, versions: &[] };
    match lint::lint(&conf, &about).first() {
        None => Ok(conf),
        Some(finding) => Err(finding.in_file(path)),
    }
}

type Values = [(&'static str, String); 8];

/// What the placeholders stand for. Without a port it is what the script leaves to be corrected by hand.
/// legacy: add_dispatch_docker.sh, the here-document of service.conf
fn values(request: &Request) -> Values {
    let version = ("version", NO_VERSION.to_owned());
    match &request.service {
        Some(service) => [
            ("port", service.port.to_string()),
            ("module", request.model.to_string()),
            ("plugin", request.plugin.to_string()),
            version,
            ("zk_addr", service.zk_addr.clone()),
            ("zk_group_id", service.zk_group_id.clone()),
            ("zk_service_id", service.zk_service_id.clone()),
            ("zk_type_id", service.zk_type_id.clone()),
        ],
        None => [
            ("port", NO_PORT.to_owned()),
            ("module", NO_NAME.to_owned()),
            ("plugin", "model_demo".to_owned()),
            version,
            ("zk_addr", ZK_ADDR.to_owned()),
            ("zk_group_id", ZK_GROUP_ID.to_owned()),
            ("zk_service_id", NO_NAME.to_owned()),
            ("zk_type_id", ZK_TYPE_ID.to_owned()),
        ],
    }
}

/// The text with its placeholders replaced; every other byte stays. Fails at a placeholder that is not known.
fn fill(text: &[u8], values: &Values) -> std::result::Result<Vec<u8>, Refusal> {
    let mut out = Vec::with_capacity(text.len());
    let mut done = 0;
    while let Some(at) = text[done..].windows(2).position(|pair| pair == b"${").map(|at| done + at) {
        let name = &text[at + 2..];
        let end = name.iter().position(|b| !(b.is_ascii_lowercase() || *b == b'_')).unwrap_or(name.len());
        let known = values.iter().find(|(known, _)| known.as_bytes() == &name[..end]);
        let Some((_, value)) = known.filter(|_| name.get(end) == Some(&b'}')) else {
            let names = values.each_ref().map(|(name, _)| format!("${{{name}}}")).join(", ");
            let what = format!("${{{}... is no placeholder", String::from_utf8_lossy(&name[..end.min(40)]));
            return Err(Refusal::at(text, at, what, format!("write one of {names}")));
        };
        out.extend_from_slice(&text[done..at]);
        out.extend_from_slice(value.as_bytes());
        done = at + 2 + end + 1;
    }
    out.extend_from_slice(&text[done..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names::{ModelName, PluginName, Port};
    use crate::tools::WaitOption;
    use crate::tools::add_dispatch_docker::cli::Service;
    use crate::tools::edit::Mode;

    fn request(with_port: bool) -> Request {
        let service = Service {
            port: Port::parse(b"17019").unwrap(),
            zk_addr: "zk://10.0.0.1:2181".to_owned(),
            zk_group_id: "g".to_owned(),
            zk_service_id: "s".to_owned(),
            zk_type_id: "t".to_owned(),
        };
        Request {
            kind: TypeName::parse(b"model").unwrap(),
            model: ModelName::parse(b"m").unwrap(),
            plugin: PluginName::parse(b"p").unwrap(),
            service: with_port.then_some(service),
            members: None,
            wait: WaitOption::default(),
            mode: Mode::Show,
        }
    }

    fn made(text: &[u8], with_port: bool) -> std::result::Result<String, String> {
        let template = Template { path: Some("t.conf".into()), text: text.to_vec() };
        let made = service_conf(&template, &request(with_port));
        made.map(|conf| String::from_utf8_lossy(&conf).into_owned()).map_err(|e| e.to_string())
    }

    #[test]
    fn what_the_built_in_template_makes_has_no_errors() {
        let template = choose(&request(true).kind, None, &[]).unwrap();
        let conf = service_conf(&template, &request(true)).unwrap();
        let about = About { model: &request(true).model, versions: &[] };
        assert_eq!(lint::lint(&conf, &about), []);
        assert!(!lint::lint(&service_conf(&template, &request(false)).unwrap(), &about).is_empty());
    }

    #[test]
    fn a_template_that_would_make_errors_is_refused_with_its_line() {
        assert_eq!(
            made(b"[common]\nport=${prot}\n", true).unwrap_err().split(';').next(),
            Some("t.conf:2:6: ${prot... is no placeholder")
        );
        assert_eq!(
            made(b"[common]\nport=${port}\n", false).unwrap_err(),
            "t.conf needs to be told the port; add --port PORT"
        );
        assert_eq!(
            made(b"[common]\nport=${port}#x\n", true).unwrap_err(),
            "t.conf:2: a remark is glued to the value of \u{201c}port\u{201d}; write a blank before the #"
        );
    }

    #[test]
    fn an_unknown_type_lists_those_there_are() {
        let kind = TypeName::parse(b"modle").unwrap();
        let said = |others: &[&[u8]]| {
            let others: Vec<Vec<u8>> = others.iter().map(|name| name.to_vec()).collect();
            choose(&kind, None, &others).unwrap_err().to_string()
        };
        assert!(said(&[]).ends_with("is not a known TYPE; the one there is: model"));
        let names: [&[u8]; 4] = [b"dnn.conf", b".dnn.conf.swp", b"model.conf", b"README"];
        assert!(said(&names).ends_with("; those there are: dnn, model"));
    }
}
