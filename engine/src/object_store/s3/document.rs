//! Whether the document of an answer came whole.
//!
//! The client reads documents as they come, and takes one that ends too early for a shorter one: a listing that was cut off, with a length that says so,
//! would be an empty listing. So each document has to end with its root.

use std::str;

use aws_sdk_s3::config::interceptors::AfterDeserializationInterceptorContextRef;
use aws_sdk_s3::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_s3::error::BoxError;

/// Lets no answer pass whose document is cut off.
#[derive(Debug)]
pub(super) struct WholeDocument;

impl Intercept for WholeDocument {
    fn name(&self) -> &'static str {
        "WholeDocument"
    }

    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        // An object's own bytes are not at hand here.
        match answer.body().bytes() {
            Some(body) if answer.status().is_success() && !is_whole(body) => {
                Err("a document that is cut off".into())
            }
            _ => Ok(()),
        }
    }
}

/// Whether what looks like a document ends as its root does.
pub(super) fn is_whole(body: &[u8]) -> bool {
    let body = body.trim_ascii();
    if !body.starts_with(b"<") {
        return true;
    }
    let Ok(text) = str::from_utf8(body) else {
        return false;
    };
    let mut rest = text;
    loop {
        let Some((tag, after)) = rest.split_once('>') else {
            return false;
        };
        let tag = tag.trim_start().trim_start_matches('<');
        if !tag.starts_with(['?', '!']) {
            let empty = tag.ends_with('/') && after.is_empty();
            let name = tag.split(|c: char| c.is_ascii_whitespace()).next();
            let end = format!("</{}>", name.unwrap_or(tag));
            return empty || after.ends_with(&end);
        }
        rest = after;
    }
}
