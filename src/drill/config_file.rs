//! The configuration and the kubeconfig that a sandbox writes for relight.

use std::fmt::Write as _;
use std::path::Path;

use serde_json::json;

use super::dumps::{BACKUPS, PREFIX};
use super::error::SandboxError;
use super::folder::write_private;
use super::kubernetes::NAMESPACE;
use super::objects::{PRODUCTION, SNAPSHOT_PREFIX};
use super::paid;
use super::ready::Ready;

/// A TOML basic string; JSON's escapes are a subset of TOML's.
pub(crate) fn quoted(text: &str) -> String {
    json!(text).to_string()
}

/// A path as a TOML basic string.
pub(crate) fn path(path: &Path) -> String {
    quoted(&path.display().to_string())
}

/// Writes `config.toml`. `program` is the relight that stands in as smoke and deploy command.
pub(crate) fn write_config(ready: &Ready, writers: &[String], program: &Path) -> Result<(), SandboxError> {
    let writers: Vec<String> = writers.iter().map(|name| quoted(name)).collect();
    let mut text = format!(
        "# Written by the sandbox of `relight drill`; it ends with it.\n\
         environment = \"drill\"\n\
         rto_target = \"1h\"\n\n\
         [postgres.financecopilot]\n\
         host = \"127.0.0.1\"\n\
         port = {port}\n\
         database = {database}\n\
         user = \"relight\"\n\
         password = {{ file = {password} }}\n\
         sslmode = \"disable\"\n\
         owner = \"fc_app\"\n\
         app_role = \"fc_app\"\n\
         jobs = 2\n\
         bin_dir = {bin}\n\n",
        port = ready.postgres_operator.port,
        database = quoted(&ready.postgres_operator.database),
        password = path(&ready.postgres_operator.password_file),
        bin = path(&ready.postgres_bin),
    );
    for (name, bucket, prefix) in [
        ("backups", BACKUPS, PREFIX),
        ("safety", BACKUPS, "safety/"),
        ("ofx", PRODUCTION, ""),
        ("ofx-snapshot", BACKUPS, SNAPSHOT_PREFIX),
    ] {
        let _ = write!(
            text,
            "[s3.{name}]\nbucket = {}\nprefix = {}\nregion = {}\nendpoint = {}\npath_style = true\n\
             access_key_id = {{ file = {} }}\nsecret_access_key = {{ file = {} }}\n\n",
            quoted(bucket),
            quoted(prefix),
            quoted(&ready.s3.region),
            quoted(&ready.s3.endpoint),
            path(&ready.s3.access_key_file),
            path(&ready.s3.secret_key_file),
        );
    }
    let _ = write!(
        text,
        "[kubernetes.production]\nkubeconfig = {}\ncontext = \"drill\"\nnamespace = {}\nwriters = [{}]\n\n\
         [redis.redis-ingestion]\nhost = \"127.0.0.1\"\nport = {}\ndb = 0\nuser = {}\npassword = {{ file = {} }}\n\n\
         [http.api]\nbase_url = {}\npaths = [\"/pj/status\"]\n\n",
        path(&ready.kubeconfig),
        quoted(NAMESPACE),
        writers.join(", "),
        ready.redis.port,
        quoted(&ready.redis.user),
        path(&ready.redis.password_file),
        quoted(&ready.api_url),
    );
    text.push_str(&paid::sections(&ready.services));
    let program = path(program);
    let _ = write!(
        text,
        "[command.smoke]\nargv = [{program}, \"stand-in\", \"smoke\", \"--filter=core\"]\ntimeout = \"2m\"\n\
         [command.smoke.env]\nFC_API_URL = {}\n\n\
         [command.deploy]\nargv = [{program}, \"stand-in\", \"deploy\", \"--service\", \"api\", \"--ref\", \"{{{{ ref }}}}\"]\ntimeout = \"2m\"\n\
         [command.deploy.env]\nKUBERNETES_URL = {}\nKUBERNETES_TOKEN = {{ file = {} }}\n",
        quoted(&ready.api_url),
        quoted(&ready.kubernetes_url),
        path(&ready.kubernetes_token_file),
    );
    if let Some(flags) = ready.services.get("launchdarkly") {
        let _ = write!(
            text,
            "LAUNCHDARKLY_URL = {}\nLAUNCHDARKLY_TOKEN = {{ file = {} }}\n",
            quoted(&flags.base_url),
            path(&flags.token_file)
        );
    }
    write_private(&ready.config, text.as_bytes())
}

/// Writes a kubeconfig with the one context `drill`. JSON is YAML.
pub(crate) fn write_kubeconfig(file: &Path, server: &str, token_file: &Path) -> Result<(), SandboxError> {
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "drill",
        "clusters": [{ "name": "drill", "cluster": { "server": server } }],
        "users": [{ "name": "relight", "user": { "tokenFile": token_file } }],
        "contexts": [{ "name": "drill", "context": { "cluster": "drill", "user": "relight", "namespace": NAMESPACE } }],
    });
    write_private(file, format!("{config:#}\n").as_bytes())
}
