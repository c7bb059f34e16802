//! The engine's events on their way to the server's error log.
//!
//! `unsafe` is here to call the function that C++ installed.

use std::fmt::Write as _;
use std::sync::Once;
use std::sync::atomic::{AtomicUsize, Ordering};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

type Sink = unsafe extern "C" fn(level: u8, text: *const u8, size: usize);

static SINK: AtomicUsize = AtomicUsize::new(0);
static INSTALL: Once = Once::new();

/// Sends events to `sink`, the address of a [`Sink`], or nowhere for 0.
///
/// # Safety
/// `sink` is such an address, good until the next call.
pub unsafe fn set_log_sink(sink: usize) {
    SINK.store(sink, Ordering::Release);
    INSTALL.call_once(|| {
        // Fails only where the process has a subscriber already; that one then gets the events.
        let _ = tracing::subscriber::set_global_default(ServerLog);
    });
}

struct ServerLog;

impl Subscriber for ServerLog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= Level::INFO && metadata.is_event()
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let address = SINK.load(Ordering::Acquire);
        if address == 0 {
            return;
        }
        let mut line = Line(String::new());
        event.record(&mut line);
        let level = match *event.metadata().level() {
            Level::ERROR => 0,
            Level::WARN => 1,
            _ => 2,
        };
        // SAFETY: `set_log_sink` was given the address of such a function.
        unsafe {
            let sink = std::mem::transmute::<usize, Sink>(address);
            sink(level, line.0.as_ptr(), line.0.len());
        }
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// The message of an event, followed by its fields.
struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.0, "{value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}
