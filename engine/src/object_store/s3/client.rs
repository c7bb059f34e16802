//! The client of the S3 protocol: endpoint, region, credentials, TLS.

use std::path::Path;
use std::time::Duration;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::ProvideRegion;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_sdk_s3::config::{
    RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::{Client, config};
use aws_smithy_http_client::Builder;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::document::WholeDocument;
use crate::object_store::StoreOptions;
use crate::{Error, Result};

const DEFAULT_REGION: &str = "us-east-1";
/// Servers close connections that idle; one that is kept longer fails the request that takes it.
const IDLE: Duration = Duration::from_secs(20);

/// A client, and which server it talks to, for messages.
pub(super) struct Connected {
    pub client: Client,
    pub endpoint: String,
}

/// Makes the client; no request is sent to the store, though credentials and region may be looked up.
pub(super) async fn connect(options: &StoreOptions) -> Result<Connected> {
    let http = http_client(options)?;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.request_timeout.min(Duration::from_secs(5)))
        .build();
    let region = region(options).await;
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .region(region.clone())
        .timeout_config(timeouts)
        // Attempts are made, counted and judged by the caller.
        .retry_config(RetryConfig::disabled())
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // Servers other than S3 itself refuse checksums in trailers, and the engine has its own.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &options.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    let shared = loader.load().await;
    let endpoint = match shared.endpoint_url() {
        Some(endpoint) => endpoint.to_owned(),
        None => format!("S3 in {region}"),
    };
    let path_style = options
        .path_style
        .unwrap_or_else(|| shared.endpoint_url().is_some());
    let config = config::Builder::from(&shared)
        .force_path_style(path_style)
        .interceptor(WholeDocument)
        .build();
    Ok(Connected {
        client: Client::from_conf(config),
        endpoint,
    })
}

/// The region: as told, as environment or profile say, and else the one that servers other than S3 itself take as well as any. The
/// machine's own region is asked for only if S3 itself is meant, since the question takes seconds if nobody answers.
async fn region(options: &StoreOptions) -> Region {
    if let Some(region) = &options.region {
        return Region::new(region.clone());
    }
    if let Some(region) = EnvironmentVariableRegionProvider::new().region().await {
        return region;
    }
    if let Some(region) = ProfileFileRegionProvider::new().region().await {
        return region;
    }
    if options.endpoint.is_none()
        && let Some(region) = ImdsRegionProvider::builder().build().region().await
    {
        return region;
    }
    Region::from_static(DEFAULT_REGION)
}

fn http_client(options: &StoreOptions) -> Result<SharedHttpClient> {
    let mut trust = TrustStore::default();
    if let Some(file) = &options.ca_file {
        trust = trust.with_pem_certificate(certificates(file)?);
    }
    let context = TlsContext::builder()
        .with_trust_store(trust)
        .build()
        .map_err(|error| Error::invalid(format!("TLS of the S3 store: {error}")))?;
    Ok(Builder::new()
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(options.max_connections)
        .tls_provider(Provider::rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https())
}

/// The file of certificates, whole, after each was found to be one.
fn certificates(file: &Path) -> Result<Vec<u8>> {
    let refuse = |cause: String| {
        Error::invalid(format!(
            "certificates in {}: {cause}; a file of PEM certificates is expected",
            file.display()
        ))
    };
    let pem = std::fs::read(file).map_err(|error| refuse(error.to_string()))?;
    let mut store = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|error| refuse(error.to_string()))?;
        store
            .add(certificate)
            .map_err(|error| refuse(error.to_string()))?;
    }
    if store.is_empty() {
        return Err(refuse("there is none".to_owned()));
    }
    Ok(pem)
}
