//! Stores by their URL, as a user writes it; the forms are in the description of [`super`].

use std::sync::Arc;
use std::time::Duration;

use super::{LocalStore, MemoryStore, ObjectStore, ReadOnlyStore, StoreOptions, validate_key};
use crate::{Error, Result, ResultExt};

/// What is written after `s3://`.
const S3_FORM: &str = "s3://bucket/prefix";
/// The parameters of an `s3://` URL.
const PARAMETERS: &str =
    "endpoint, region, path_style, ca, timeout_ms, deadline_ms and max_connections";
/// The longest prefix, so that the engine's keys fit behind it.
const MAX_PREFIX_LEN: usize = 512;

/// What an `s3://` URL names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct S3Location {
    /// The bucket.
    pub bucket: String,
    /// What every key begins with, with a slash at its end, or empty.
    pub prefix: String,
    /// How to get there.
    pub options: StoreOptions,
}

/// Opens the store that `url` names, reached as [`StoreOptions::default`] says unless the URL says otherwise.
pub fn open_store(url: &str) -> Result<Arc<dyn ObjectStore>> {
    open_store_with(url, &StoreOptions::default())
}

/// Opens the store that `url` names. What the URL says takes precedence over `options`.
pub fn open_store_with(url: &str, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>> {
    // What may hold a user or a password is not shown.
    let refuse = |cause: &str| {
        let shown = match url.contains('@') {
            true => "the store's URL".to_owned(),
            false => format!("store {url:?}"),
        };
        Err(Error::invalid(format!(
            "{shown}: {cause}; allowed are {S3_FORM}, file:///absolute/path and memory://"
        )))
    };
    match url.split_once("://") {
        Some(("file", path)) if path.starts_with('/') && path.len() > 1 => {
            let store = LocalStore::open(path).context(|| format!("open store {url}"))?;
            Ok(Arc::new(store))
        }
        Some(("file", _)) => refuse("the path is not absolute"),
        Some(("memory", "")) => Ok(Arc::new(MemoryStore::new())),
        Some(("memory", _)) => refuse("a store in memory has no path"),
        Some(("s3", rest)) => open_s3(S3Location::parse(rest, options)?),
        Some(_) | None if url.contains('@') => refuse("of no kind that is built in"),
        Some((scheme, _)) => refuse(&format!("no store of kind {scheme}:// is built in")),
        None => refuse("not a URL"),
    }
}

/// Opens the store that `url` names, which has to be there, for reading only: writes are refused, and opening leaves no trace.
pub fn open_store_for_reading(url: &str) -> Result<Arc<dyn ObjectStore>> {
    let store: Arc<dyn ObjectStore> = match url.strip_prefix("file://") {
        Some(path) if path.starts_with('/') && path.len() > 1 => {
            Arc::new(LocalStore::open_existing(path).context(|| format!("open store {url}"))?)
        }
        _ => open_store(url)?,
    };
    Ok(Arc::new(ReadOnlyStore::new(store)))
}

/// Whether the store that `url` names is farther away than this machine's disks.
pub fn is_distant(url: &str) -> bool {
    !url.starts_with("file:") && !url.starts_with("memory:")
}

/// As much of a URL as may be shown: a local store's path, a bucket and its prefix; nothing of what is no URL of a store, or holds a user or a
/// password.
pub fn place_of(url: &str) -> &str {
    let place = url.split('?').next().unwrap_or("");
    let shown = match place.split_once("://") {
        Some(("file", path)) => path.starts_with('/'),
        Some(("memory", rest)) => rest.is_empty(),
        Some(("s3", rest)) => S3Location::parse(rest, &StoreOptions::default()).is_ok(),
        _ => false,
    };
    if shown { place } else { "the store" }
}

#[cfg(feature = "s3")]
fn open_s3(location: S3Location) -> Result<Arc<dyn ObjectStore>> {
    Ok(Arc::new(super::S3Store::open(location)?))
}

#[cfg(not(feature = "s3"))]
fn open_s3(location: S3Location) -> Result<Arc<dyn ObjectStore>> {
    Err(Error::invalid(format!(
        "open store s3://{}/{}: this build has no S3 (the crate's feature s3); allowed are file:///absolute/path and memory://",
        location.bucket, location.prefix
    )))
}

impl S3Location {
    /// Reads what follows `s3://`.
    pub fn parse(rest: &str, options: &StoreOptions) -> Result<Self> {
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if place.contains('@') || bucket.contains(':') {
            return Err(Error::invalid(format!(
                "the store's URL holds a user or a password, which would be shown to many: write {S3_FORM} and leave credentials to the \
                 environment, a profile or a role"
            )));
        }
        let good = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(good) {
            return Err(Error::invalid(format!(
                "store s3://{place}: a bucket's name has 3 to 63 letters, digits, '-', '.' and '_'; write {S3_FORM}"
            )));
        }
        let prefix = prefix.trim_end_matches('/');
        if !prefix.is_empty() {
            validate_key(prefix).context(|| format!("store s3://{place}: the prefix"))?;
        }
        if prefix.len() > MAX_PREFIX_LEN {
            return Err(Error::invalid(format!(
                "store s3://{bucket}: the prefix has {} bytes, {MAX_PREFIX_LEN} are allowed",
                prefix.len()
            )));
        }
        let mut options = options.clone();
        for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
            set(&mut options, parameter).context(|| format!("store s3://{place}"))?;
        }
        options
            .validate()
            .context(|| format!("store s3://{place}"))?;
        let prefix = match prefix {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        Ok(Self {
            bucket: bucket.to_owned(),
            prefix,
            options,
        })
    }
}

fn set(options: &mut StoreOptions, parameter: &str) -> Result<()> {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    // A name may be a secret that lost its parameter; only words are repeated.
    let word = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    if name.len() > 32 || !name.bytes().all(word) {
        return Err(Error::invalid(format!(
            "a parameter that does not exist; allowed are {PARAMETERS}"
        )));
    }
    let bad = |allowed: &str| Error::invalid(format!("parameter {name}: {allowed}"));
    let value = decode(value).ok_or_else(|| bad("its percent-encoding is broken"))?;
    if value.is_empty() {
        return Err(bad("it has no value"));
    }
    let number = || value.parse().map_err(|_| bad("a number is expected"));
    match name {
        "endpoint" => options.endpoint = Some(value),
        "region" => options.region = Some(value),
        "ca" => options.ca_file = Some(value.into()),
        "path_style" => {
            options.path_style = Some(match value.as_str() {
                "true" => true,
                "false" => false,
                _ => return Err(bad("true and false are allowed")),
            });
        }
        "timeout_ms" => options.request_timeout = Duration::from_millis(number()?),
        "deadline_ms" => options.deadline = Duration::from_millis(number()?),
        "max_connections" => {
            options.max_connections = usize::try_from(number()?).unwrap_or(usize::MAX);
        }
        _ => {
            return Err(Error::invalid(format!(
                "there is no parameter {name}; allowed are {PARAMETERS}"
            )));
        }
    }
    Ok(())
}

/// Replaces `%41` by `A`.
fn decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let (digits, after) = rest.split_at_checked(2)?;
        let digits = std::str::from_utf8(digits).ok()?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        rest = after;
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{S3Location, StoreOptions, open_store, place_of};
    use crate::ErrorKind;

    #[test]
    fn opens_what_it_names_and_says_what_is_allowed() {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("file://{}/new/store", dir.path().display());
        open_store(&url).unwrap().put("a", b"1").unwrap();
        assert_eq!(open_store(&url).unwrap().get("a").unwrap(), "1");
        open_store("memory://").unwrap();
        for bad in [
            "",
            "/tmp",
            "file://relative",
            "file:///",
            "gs://bucket/prefix",
            "memory://x",
        ] {
            let error = open_store(bad).err().expect(bad);
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains("file:///absolute/path"), "{error}");
        }
    }

    #[test]
    fn an_s3_url_says_where_and_how() {
        let variables = StoreOptions {
            region: Some("eu-west-1".into()),
            max_connections: 7,
            ..StoreOptions::default()
        };
        let parse = |rest| S3Location::parse(rest, &variables).unwrap();
        let plain = parse("data-1");
        assert_eq!(
            (plain.bucket.as_str(), plain.prefix.as_str()),
            ("data-1", "")
        );
        assert_eq!(plain.options, variables);
        let full = parse(
            "data/a/b/?endpoint=http://127.0.0.1:7480&region=us-east-1&path_style=false&ca=%2Fetc%2Fca.pem\
             &timeout_ms=1500&deadline_ms=9000&max_connections=3",
        );
        let expected = StoreOptions {
            endpoint: Some("http://127.0.0.1:7480".into()),
            region: Some("us-east-1".into()),
            path_style: Some(false),
            ca_file: Some("/etc/ca.pem".into()),
            request_timeout: Duration::from_millis(1500),
            deadline: Duration::from_secs(9),
            max_connections: 3,
        };
        assert_eq!(full.prefix, "a/b/");
        assert_eq!(full.options, expected);
    }

    #[test]
    fn what_is_wrong_in_an_s3_url_is_named() {
        for (rest, part) in [
            ("", "a bucket's name"),
            ("a/b", "a bucket's name"),
            ("b b b/x", "a bucket's name"),
            ("bucket/../x", "begins with a dot"),
            (
                "bucket?colour=red",
                "no parameter colour; allowed are endpoint",
            ),
            ("bucket?path_style=maybe", "true and false"),
            ("bucket?deadline_ms=soon", "a number"),
            ("bucket?deadline_ms=1", "100 to"),
            ("bucket?max_connections=0", "1 to 10000"),
            ("bucket?endpoint=host", "no scheme"),
            ("bucket?endpoint=ftp://host", "http and https"),
            ("bucket?endpoint=http://host/path", "it has a path"),
            ("bucket?region=a%zz", "percent-encoding"),
            ("bucket?ca", "no value"),
        ] {
            let error = S3Location::parse(rest, &StoreOptions::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Invalid);
            assert!(error.message().contains(part), "{rest}: {error}");
        }
    }

    #[test]
    fn secrets_in_a_url_are_not_repeated() {
        for rest in [
            "AKIA:hush@bucket/prefix",
            "user@bucket/hush",
            "bucket:hush/prefix",
            "bucket?endpoint=http://user:hush@host",
            "bucket?secret_access_key=hush",
            "bucket?Hush/hush+hush",
            "bucket?region=hush/hush",
            "bucket?deadline_ms=hush",
        ] {
            let error = open_store(&format!("s3://{rest}")).err().expect(rest);
            assert!(!error.message().contains("hush"), "{error}");
            assert!(!error.message().contains("AKIA"), "{error}");
        }
        for url in [
            "s3://a:hush@b/c",
            "s3://b:hush/c",
            "http://a:hush@b",
            "hush",
        ] {
            assert_eq!(place_of(url), "the store");
        }
        assert_eq!(place_of("s3://bucket/p?region=hush"), "s3://bucket/p");
        assert_eq!(place_of("file:///data/x"), "file:///data/x");
        let error = open_store("http://user:hush@host/").err().unwrap();
        assert!(!error.message().contains("hush"), "{error}");
    }
}
