//! Answers that are not the store's, or not to what was asked: what they say is not believed.

use faulty_proxy::{Fault, Rule};
use smartengine::object_store::{ObjectStore, open_store};
use smartengine::{ErrorKind, Result};

use crate::support::{Bucket, Site};

/// The bytes of the object that is there.
fn data() -> Vec<u8> {
    (0..50_000_u32).map(|i| (i % 251) as u8).collect()
}

/// Everything that may come in place of an answer.
const RUBBISH: [Fault; 17] = [
    Fault::Page { status: 200 },
    Fault::Page { status: 201 },
    Fault::Page { status: 204 },
    Fault::Page { status: 206 },
    Fault::Page { status: 302 },
    Fault::Page { status: 307 },
    Fault::Page { status: 400 },
    Fault::Page { status: 403 },
    Fault::Page { status: 404 },
    Fault::Page { status: 409 },
    Fault::Page { status: 412 },
    Fault::Page { status: 416 },
    Fault::PageInstead { status: 200 },
    Fault::PageInstead { status: 404 },
    Fault::Answer {
        status: 200,
        code: "InternalError",
    },
    Fault::Answer {
        status: 404,
        code: "NotFound",
    },
    Fault::Answer {
        status: 500,
        code: "NoSuchKey",
    },
];

/// Changed answers of the store itself.
const CHANGED: [Fault; 3] = [Fault::Shorten, Fault::Truncate, Fault::WrongRange];

struct Verb {
    name: &'static str,
    /// Which of its requests meets the rubbish.
    method: &'static str,
    path: &'static str,
    /// What it does, and what it must come to.
    run: fn(&dyn ObjectStore, &str) -> Result<()>,
}

fn large(store: &dyn ObjectStore, key: &str) -> Result<()> {
    let mut writer = store.writer(key)?;
    writer.append(&vec![7; 9 << 20])?;
    writer.finish()
}

fn verbs() -> Vec<Verb> {
    let verb = |name, method, path, run| Verb {
        name,
        method,
        path,
        run,
    };
    vec![
        verb("put", "PUT", "", |store, key| store.put(key, b"hint")),
        verb("put_if_absent", "PUT", "", |store, key| {
            store.put_if_absent(key, b"mine")
        }),
        verb("get", "GET", "", |store, _| {
            assert!(store.get("there")? == data());
            Ok(())
        }),
        verb("get_range", "GET", "", |store, _| {
            assert!(store.get_range("there", 5..30)? == data()[5..30]);
            Ok(())
        }),
        verb("get of none", "GET", "", |store, _| {
            match store.get("none").map(drop).unwrap_err() {
                error if error.kind() == ErrorKind::NotFound => Ok(()),
                error => Err(error),
            }
        }),
        verb("size", "HEAD", "", |store, _| {
            assert_eq!(store.size("there")?, 50_000);
            Ok(())
        }),
        verb("list", "GET", "list-type", |store, _| {
            assert_eq!(store.list("", "there/", 9)?.len(), 0);
            assert_eq!(store.list("there", "", 9)?.len(), 1);
            Ok(())
        }),
        verb("multipart create", "POST", "uploads", large),
        verb("multipart part", "PUT", "partNumber", large),
        verb("multipart complete", "POST", "uploadId", large),
    ]
}

/// One at a time, rubbish is asked again; and while nothing else comes, the store is away: it holds nothing, lacks nothing, and is not damaged.
#[test]
fn rubbish_is_no_answer_to_any_request() {
    let Some(bucket) = Bucket::find() else { return };
    let site = Site::new(&bucket, 1, "");
    let impatient = Site::new(&bucket, 1, "&deadline_ms=100&timeout_ms=100");
    for direct in [&site.direct, &impatient.direct] {
        direct.put("there", &data()).unwrap();
    }
    for verb in verbs() {
        for (number, fault) in RUBBISH.into_iter().chain(CHANGED).enumerate() {
            let context = format!("{}: {fault:?}", verb.name);
            let key = format!("{}/{number}", verb.name.replace(' ', "-"));
            let rule = |rule: Rule| Rule {
                path_contains: verb.path.to_owned(),
                ..rule
            };
            site.proxy.add(rule(Rule::once(verb.method, fault)));
            (verb.run)(&*site.store, &key).unwrap_or_else(|error| panic!("{context}: {error}"));
            if verb.method != "GET" && verb.method != "HEAD" {
                assert!(site.direct.size(&key).is_ok(), "{context}: it is not there");
            }
            site.proxy.heal();
            impatient.proxy.add(rule(Rule::always(verb.method, fault)));
            match (verb.run)(&*impatient.store, &key) {
                // The answer is still what it was, or the object was found to be there.
                Ok(()) if ["GET", "HEAD"].contains(&verb.method) => {
                    let harmless = match verb.name {
                        "get" => fault == Fault::WrongRange,
                        "get_range" => false,
                        _ => CHANGED.contains(&fault),
                    };
                    assert!(harmless, "{context}: believed");
                }
                Ok(()) => {
                    impatient.proxy.heal();
                    assert!(impatient.direct.size(&key).is_ok(), "{context}: believed");
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Unavailable, "{context}: {error}");
                }
            }
            impatient.proxy.heal();
        }
    }
}

#[test]
fn a_deletion_that_is_rubbish_is_none() {
    let Some(bucket) = Bucket::find() else { return };
    let site = Site::new(&bucket, 1, "");
    for fault in RUBBISH {
        for method in ["DELETE", "POST"] {
            let keys: Vec<String> = (0..5).map(|number| format!("a/{number}")).collect();
            for key in &keys {
                site.direct.put(key, b"x").unwrap();
            }
            site.proxy.add(Rule::once(method, fault));
            match method {
                "DELETE" => site.store.delete(&keys[0]).unwrap(),
                _ => {
                    for result in site.store.delete_many(&keys) {
                        result.unwrap();
                    }
                }
            }
            site.proxy.heal();
            let left = site.direct.list("a/", "", 9).unwrap().len();
            let expected = if method == "DELETE" { 4 } else { 0 };
            assert_eq!(left, expected, "{method} {fault:?}");
        }
    }
    let away = Site::new(&bucket, 1, "&deadline_ms=100&timeout_ms=100");
    away.direct.put("a/1", b"x").unwrap();
    for fault in [RUBBISH[0], RUBBISH[2], RUBBISH[8]] {
        away.proxy.add(Rule::always("", fault));
        let error = away.store.delete("a/1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        let keys = ["a/1", "a/2"].map(str::to_owned);
        for result in away.store.delete_many(&keys) {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::Unavailable);
        }
        away.proxy.heal();
    }
}

#[test]
fn opening_before_a_login_page_says_that_the_store_is_away() {
    let Some(bucket) = Bucket::find() else { return };
    let site = Site::new(&bucket, 1, "");
    for status in [200, 204, 302, 403, 404] {
        site.proxy.heal();
        site.proxy.add(Rule::always("", Fault::Page { status }));
        let url = bucket.url(site.proxy.address(), "&deadline_ms=500");
        let error = open_store(&url).err().expect("it opened");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{status}: {error}");
        assert!(error.message().contains("not S3's"), "{status}: {error}");
    }
}

#[test]
fn the_usual_put_costs_one_request() {
    let Some(bucket) = Bucket::find() else { return };
    let site = Site::new(&bucket, 1, "");
    let before = site.proxy.requests();
    for number in 0..20 {
        let data = vec![number; 1000];
        site.store.put(&format!("a/{number}"), &data).unwrap();
        site.store
            .put_if_absent(&format!("b/{number}"), &data)
            .unwrap();
    }
    assert_eq!(site.proxy.requests() - before, 40);
}
