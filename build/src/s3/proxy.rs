//! `cargo xtask s3 proxy`: what is between a server and an S3 server that is far away, or not well.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use faulty_proxy::{Fault, Proxy, Rule};

/// One request in this many meets each kind of fault, unless another number is given.
const ONE_IN: u64 = 50;

#[derive(clap::Args)]
pub struct ProxyArgs {
    /// The server behind it, such as 127.0.0.1:7480 [default: the one that cargo xtask s3 up started]
    #[arg(long, value_name = "ADDRESS")]
    upstream: Option<SocketAddr>,
    /// TCP port on 127.0.0.1
    #[arg(long, default_value_t = 7481)]
    port: u16,
    /// How long every PUT takes at least
    #[arg(long, value_name = "MS", default_value_t = 0)]
    put_ms: u64,
    /// How long every GET takes at least
    #[arg(long, value_name = "MS", default_value_t = 0)]
    get_ms: u64,
    /// Let requests fail at random, in every way that networks and servers have
    #[arg(long)]
    faults: bool,
    /// One request in this many meets each kind of fault
    #[arg(long, value_name = "N", default_value_t = ONE_IN)]
    one_in: u64,
    /// Seed of the random choices
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Cut everything off for this long, at the same interval
    #[arg(long, value_name = "S", default_value_t = 0)]
    cut_s: u64,
}

pub fn run(args: &ProxyArgs) -> Result<()> {
    let upstream = match args.upstream {
        Some(upstream) => upstream,
        None => {
            let server = super::running()?;
            let server = server.context(
                "no server runs: start one with cargo xtask s3 up, or name one with --upstream",
            )?;
            server.endpoint.trim_start_matches("http://").parse()?
        }
    };
    let listen = SocketAddr::from(([127, 0, 0, 1], args.port));
    let proxy = Proxy::start_on(listen, upstream, args.seed)
        .with_context(|| format!("listen on {listen}"))?;
    for (method, millis) in [("PUT", args.put_ms), ("GET", args.get_ms)] {
        if millis > 0 {
            proxy.set_latency(method, Duration::from_millis(millis));
        }
    }
    if args.faults {
        add_faults(&proxy, args.one_in);
    }
    println!("{} passes on to {upstream}", proxy.url());
    println!("Stop with Ctrl-C.");
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))?;
    let mut tenths = 0;
    while !interrupted.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(100));
        tenths += 1;
        if args.cut_s > 0 && tenths % (args.cut_s * 10) == 0 {
            proxy.cut_off(tenths / (args.cut_s * 10) % 2 == 1);
        }
    }
    println!(
        "{} requests, {} of them met a fault",
        proxy.requests(),
        proxy.faults()
    );
    Ok(())
}

/// Lets one in `one_in` requests meet each kind of fault.
pub fn add_faults(proxy: &Proxy, one_in: u64) {
    for fault in [
        Fault::Delay(Duration::from_millis(500)),
        Fault::DropRequest,
        Fault::DropAnswer,
        Fault::Truncate,
        Fault::Answer {
            status: 500,
            code: "InternalError",
        },
        Fault::Answer {
            status: 503,
            code: "SlowDown",
        },
        Fault::AnswerInstead {
            status: 500,
            code: "InternalError",
        },
        Fault::Throttle {
            bytes_per_second: 100_000,
        },
        Fault::Page { status: 200 },
        Fault::Page { status: 404 },
        Fault::PageInstead { status: 200 },
        Fault::Shorten,
        Fault::WrongRange,
    ] {
        proxy.add(Rule::sometimes(one_in, fault));
    }
    proxy.add(Rule {
        method: "PUT".to_string(),
        ..Rule::sometimes(
            one_in,
            Fault::AnswerInstead {
                status: 412,
                code: "PreconditionFailed",
            },
        )
    });
}
