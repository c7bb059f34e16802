//! How a remote store is reached, apart from where it is.

use std::path::PathBuf;
use std::time::Duration;

use crate::{Error, Result};

/// How a remote store is reached. What the store's URL says takes precedence. Stores on this machine need none of it.
///
/// Credentials have no place here, nor in a URL: they come from the places where the store's own tools look for them.
#[derive(Clone, PartialEq, Eq)]
pub struct StoreOptions {
    /// The server, as `https://host:port`; `None` for the one that the region implies.
    pub endpoint: Option<String>,
    /// The region; `None` for what environment and profile say, and `us-east-1` where they say nothing.
    pub region: Option<String>,
    /// Whether the bucket stands in the path and not in the host's name; `None`: yes if there is an endpoint.
    pub path_style: Option<bool>,
    /// A file of PEM certificates that are trusted beside the system's.
    pub ca_file: Option<PathBuf>,
    /// How long one attempt may take, and a second more for each MiB that it carries; 100 ms to an hour.
    pub request_timeout: Duration,
    /// How long a call may take with all its attempts; 100 ms to a day.
    pub deadline: Duration,
    /// How many requests may be under way at once, 1 to 10,000.
    pub max_connections: usize,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self {
            endpoint: None,
            region: None,
            path_style: None,
            ca_file: None,
            request_timeout: Duration::from_secs(10),
            deadline: Duration::from_secs(60),
            max_connections: 64,
        }
    }
}

impl std::fmt::Debug for StoreOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // What is no endpoint or no region may be a secret in the wrong place.
        fn shown(given: &Option<String>, validate: fn(&str) -> Result<()>) -> Option<&str> {
            given.as_deref().map(|given| match validate(given) {
                Ok(()) => given,
                Err(_) => "not valid",
            })
        }
        f.debug_struct("StoreOptions")
            .field("endpoint", &shown(&self.endpoint, validate_endpoint))
            .field("region", &shown(&self.region, validate_region))
            .field("path_style", &self.path_style)
            .field("ca_file", &self.ca_file)
            .field("request_timeout", &self.request_timeout)
            .field("deadline", &self.deadline)
            .field("max_connections", &self.max_connections)
            .finish()
    }
}

impl StoreOptions {
    /// Refuses what is out of range or no endpoint. What is refused is not repeated where it may hold a password.
    pub fn validate(&self) -> Result<()> {
        if let Some(endpoint) = &self.endpoint {
            validate_endpoint(endpoint)?;
        }
        if let Some(region) = &self.region {
            validate_region(region)?;
        }
        let day = 24 * 3_600_000;
        for (name, value, most) in [
            ("request timeout", self.request_timeout, 3_600_000),
            ("deadline", self.deadline, day),
        ] {
            let millis = value.as_millis();
            if !(100..=most).contains(&millis) {
                return Err(Error::invalid(format!(
                    "{name}: {millis} ms were given, 100 to {most} are allowed"
                )));
            }
        }
        if !(1..=10_000).contains(&self.max_connections) {
            return Err(Error::invalid(format!(
                "max_connections: {} was given, 1 to 10000 is allowed",
                self.max_connections
            )));
        }
        Ok(())
    }
}

fn validate_region(region: &str) -> Result<()> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    if region.is_empty() || region.len() > 64 || !region.bytes().all(good) {
        return Err(Error::invalid(
            "region: letters, digits and '-' are allowed, as in us-east-1",
        ));
    }
    Ok(())
}

fn validate_endpoint(endpoint: &str) -> Result<()> {
    let refuse = |cause: &str| {
        Err(Error::invalid(format!(
            "endpoint: {cause}; it is written as http://host:port or https://host"
        )))
    };
    let Some((scheme, rest)) = endpoint.split_once("://") else {
        return refuse("it names no scheme");
    };
    if scheme != "http" && scheme != "https" {
        return refuse("only http and https are spoken");
    }
    if rest.contains('@') {
        return refuse(
            "a user or password does not belong there, credentials come from the environment, a profile or a role",
        );
    }
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    let good = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':' | b'[' | b']')
    };
    if host.is_empty() || !host.bytes().all(good) {
        return refuse("the host's name is missing or has characters that no name has");
    }
    if !path.is_empty() {
        return refuse("it has a path");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::StoreOptions;

    #[test]
    fn secrets_in_the_wrong_place_are_not_shown() {
        let bad = StoreOptions {
            endpoint: Some("http://user:hush@host".into()),
            region: Some("hush/hush".into()),
            ..StoreOptions::default()
        };
        assert!(!format!("{bad:?}").contains("hush"), "{bad:?}");
        let good = StoreOptions {
            endpoint: Some("http://host:7480".into()),
            region: Some("eu-west-1".into()),
            ..StoreOptions::default()
        };
        let shown = format!("{good:?}");
        assert!(shown.contains("host:7480") && shown.contains("eu-west-1"));
    }
}
