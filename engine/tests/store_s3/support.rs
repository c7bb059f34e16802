//! A bucket behind a proxy.

use std::net::SocketAddr;
use std::sync::Arc;

use faulty_proxy::Proxy;
use smartengine::internals::env::unique_u128;
use smartengine::object_store::{ObjectStore, RequestKind, RequestStats, open_store};

/// The bucket that the environment names.
pub struct Bucket {
    pub name: String,
    /// Where its server listens.
    pub server: SocketAddr,
}

impl Bucket {
    pub fn find() -> Option<Self> {
        let Ok(url) = std::env::var("SMARTENGINE_TEST_S3_URL") else {
            eprintln!("SMARTENGINE_TEST_S3_URL is not set: there is no bucket to test with");
            return None;
        };
        let (place, query) = url.split_once('?').expect("the URL names an endpoint");
        let name = place.trim_start_matches("s3://").split('/').next();
        let endpoint = query
            .split('&')
            .find_map(|parameter| parameter.strip_prefix("endpoint=http://"));
        let server = endpoint.expect("the endpoint is an http:// URL");
        Some(Self {
            name: name.unwrap().to_owned(),
            server: server.parse().expect("the endpoint is a numeric address"),
        })
    }

    /// A URL of an empty prefix, at `server`, with more parameters.
    pub fn url(&self, server: SocketAddr, parameters: &str) -> String {
        let prefix = format!("{:032x}", unique_u128().unwrap());
        let name = &self.name;
        format!("s3://{name}/{prefix}?endpoint=http://{server}&region=us-east-1{parameters}")
    }
}

/// A store behind a proxy, and the same store without it.
pub struct Site {
    pub proxy: Proxy,
    pub store: Arc<dyn ObjectStore>,
    pub direct: Arc<dyn ObjectStore>,
}

impl Site {
    /// A new prefix. The store behind the proxy has these parameters.
    pub fn new(bucket: &Bucket, seed: u64, parameters: &str) -> Self {
        let proxy = Proxy::start(bucket.server, seed).unwrap();
        let url = bucket.url(bucket.server, "");
        let direct = open_store(&url).unwrap();
        let server = bucket.server.to_string();
        let through = url.replace(&server, &proxy.address().to_string());
        let store = open_store(&format!("{through}{parameters}")).unwrap();
        Self {
            proxy,
            store,
            direct,
        }
    }

    /// What was counted of one kind.
    pub fn counted(&self, kind: RequestKind) -> RequestStats {
        let stats = self.store.meter().unwrap().stats();
        stats.into_iter().find(|one| one.kind == kind).unwrap()
    }
}
